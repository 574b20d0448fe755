import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { WebSocket } from 'ws';
import type { MemoryHolder } from '../client-memory.ts';
import type { Host } from '../host.ts';

/** What is smaller is not worth counting: a connection takes more. */
const SMALL_BYTES = 16_384;
/** Requests of one connection that nobody has answered yet; browsers have one, clients that pipeline a few. */
const PIPELINED_MAX = 128;
/** Of a client's ping or pong: two bytes and the mask. RFC 6455 §5.2, §5.5. */
const CONTROL_HEAD_BYTES = 6;

/** A holder that ends with its request, and whose cut is the end of the connection. */
export function holderOf(host: Pick<Host, 'clientMemory'>, request: IncomingMessage): MemoryHolder {
  const { socket } = request;
  return host.clientMemory.holder(socket.remoteAddress, () => socket.destroy());
}

/** Counts the bodies and answers of an app's requests, and bounds how many one connection may send before it reads. */
export function countMemory(app: FastifyInstance, host: Host): void {
  const holders = new WeakMap<FastifyRequest, MemoryHolder>();
  const holderFor = (request: FastifyRequest, reply: FastifyReply): MemoryHolder => {
    const known = holders.get(request);
    if (known !== undefined) return known;
    const holder = holderOf(host, request.raw);
    holders.set(request, holder);
    reply.raw.once('close', () => holder.close());
    return holder;
  };
  app.addHook('preParsing', (request, reply, body, done) => {
    const length = Number(request.headers['content-length'] ?? Number.POSITIVE_INFINITY);
    // The parser listens in this same turn; the gateway, which comes later, counts its bodies itself.
    if (length > SMALL_BYTES && !request.url.startsWith('/v3/')) {
      const holder = holderFor(request, reply);
      body.on('data', (chunk: Buffer) => holder.add(chunk.length));
    }
    done(null, body);
  });
  app.addHook('onSend', (request, reply, payload, done) => {
    const length =
      typeof payload === 'string' || payload instanceof Uint8Array ? payload.length : 0;
    if (length > SMALL_BYTES) holderFor(request, reply).add(length);
    done(null, payload);
  });
  const unanswered = new WeakMap<Duplex, number>();
  app.server.prependListener('request', ({ socket }: IncomingMessage, response) => {
    const count = (unanswered.get(socket) ?? 0) + 1;
    unanswered.set(socket, count);
    response.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
    if (count > PIPELINED_MAX) socket.destroy();
  });
}

/** What a WebSocket makes this member hold: messages that are not complete, answers that are not read, and what `add` is told. */
export class SocketMemory {
  readonly #ws: WebSocket;
  readonly #holder: MemoryHolder;
  #unreadBytes = 0;

  /** To be made before the WebSocket is read. `cut` ends it. */
  constructor(host: Pick<Host, 'clientMemory'>, ws: WebSocket, socket: Socket, cut: () => void) {
    this.#ws = ws;
    this.#holder = host.clientMemory.holder(socket.remoteAddress, cut);
    let bytes = 0;
    socket.prependListener('data', (chunk: Buffer) => {
      bytes += chunk.length;
      this.add(chunk.length);
    });
    ws.prependListener('message', () => {
      this.add(-bytes);
      bytes = 0;
    });
    // Whoever is silent but for these, once a second, would be said to hold a little more with each of them.
    const forgetControl = (payload: Buffer): void => {
      // None of it is counted any more when it came along with the end of a message.
      const frameBytes = Math.min(bytes, CONTROL_HEAD_BYTES + payload.length);
      bytes -= frameBytes;
      this.add(-frameBytes);
    };
    ws.prependListener('ping', forgetControl);
    ws.prependListener('pong', forgetControl);
    ws.on('close', () => this.#holder.close());
  }

  add(change: number): void {
    this.#holder.add(change);
  }

  /** To be called when something was sent, and when it was read. */
  countUnread(): void {
    const { bufferedAmount } = this.#ws;
    this.add(bufferedAmount - this.#unreadBytes);
    this.#unreadBytes = bufferedAmount;
  }
}
