import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { KvError } from '@kvorum/base';
import { WebSocketServer } from 'ws';
import type { Host } from '../host.ts';
import { errorBody } from './error-reply.ts';
import { Session } from './session.ts';

const KEEPALIVE_MS = 20_000;
const SESSION_PATH = '/v1/session';

/** A page of another site must not reach a local member through its visitor's browser. */
export function isForeignPage(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return false;
  try {
    return new URL(origin).host !== host;
  } catch {
    return true; // an Origin that is no URL ("null") is never this member's own page
  }
}

function refuse(socket: Duplex, status: string, error?: KvError): void {
  const body = error === undefined ? '' : JSON.stringify(errorBody(error));
  const head = [
    `HTTP/1.1 ${status}`,
    'connection: close',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/** Takes a connection that becomes a WebSocket. */
export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** The native sessions of the client port. */
export class Sessions {
  readonly #host: Host;
  readonly #open = new Set<Session>();
  readonly #keepAlive: NodeJS.Timeout;

  /** @param other - who takes the WebSockets of other paths. */
  constructor(host: Host, server: Server, other: (path: string) => Upgrade | undefined) {
    this.#host = host;
    const wss = new WebSocketServer({
      noServer: true,
      // A frame carries many requests: at most about one log record's worth of them.
      maxPayload: host.limits.recordBytesMax + host.limits.requestBytesMax,
      perMessageDeflate: false,
      clientTracking: false,
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      const path = (request.url ?? '').split('?')[0] ?? '';
      const refusal = host.refusal();
      const upgrade = other(path);
      if (path !== SESSION_PATH && upgrade === undefined) refuse(socket, '404 Not Found');
      else if (isForeignPage(request)) refuse(socket, '403 Forbidden');
      else if (refusal !== undefined) refuse(socket, '503 Service Unavailable', refusal);
      else if (upgrade !== undefined) upgrade(request, socket, head);
      else
        wss.handleUpgrade(request, socket, head, (ws) =>
          this.#add(new Session(host, ws, request.socket), ws),
        );
    });
    this.#keepAlive = setInterval(() => {
      for (const session of this.#open) session.keepAlive();
    }, KEEPALIVE_MS);
    this.#keepAlive.unref();
  }

  #add(session: Session, ws: { on(event: 'close', listener: () => void): unknown }): void {
    this.#open.add(session);
    this.#host.metrics.sessions.inc();
    ws.on('close', () => {
      this.#open.delete(session);
      this.#host.metrics.sessions.dec();
    });
  }

  /** True when no session waits for an answer. */
  get idle(): boolean {
    for (const session of this.#open) if (!session.idle) return false;
    return true;
  }

  /** Tells every client to go on elsewhere, and why. */
  stop(error: KvError): void {
    clearInterval(this.#keepAlive);
    for (const session of this.#open) session.stop(error);
  }

  terminate(): void {
    clearInterval(this.#keepAlive);
    for (const session of this.#open) session.terminate();
  }
}
