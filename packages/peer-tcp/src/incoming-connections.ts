import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { assert, formatId, InvariantError, isKvError, KvError, type MemberId } from '@kvorum/base';
import type { PeerEnvelope } from '@kvorum/ports';
import { type PeerHello, type PeerItem, plainError } from '@kvorum/wire';
import { helloRefusal, ownHello } from './handshake.ts';
import {
  HANDSHAKE_MS,
  LINGER_MS,
  type PeerTransportOptions,
  SILENCE_MS_MAX,
  STRANGERS_MAX,
} from './peer-options.ts';
import { PeerSocket } from './peer-socket.ts';

export interface IncomingEvents {
  onMessage(from: MemberId, envelope: PeerEnvelope): void;
  onRequest(from: MemberId, payload: unknown): Promise<unknown>;
  onHello(hello: PeerHello): void;
}

/** Connections that peers dialled: messages and requests come in, answers go back. */
export class IncomingConnections {
  readonly #options: PeerTransportOptions;
  readonly #events: IncomingEvents;
  readonly #server: Server;
  /** Not yet past their hello, oldest first. */
  readonly #strangers = new Set<Connection>();
  /** A member that redials replaces its old connection, which may be dead without our having heard. */
  readonly #members = new Map<MemberId, Connection>();
  readonly #sockets = new Set<Socket>();

  constructor(options: PeerTransportOptions, events: IncomingEvents) {
    this.#options = options;
    this.#events = events;
    const accept = (socket: Socket): void => this.#accept(socket);
    if (options.tls === undefined) {
      this.#server = createTcpServer(accept);
      this.#server.on('connection', (socket: Socket) => this.#track(socket));
    } else {
      const tls = { ...options.tls, requestCert: true, rejectUnauthorized: true };
      this.#server = createTlsServer({ ...tls, handshakeTimeout: HANDSHAKE_MS }, accept);
      this.#server.on('connection', (socket: Socket) => this.#track(socket));
      this.#server.on('tlsClientError', (error: Error) => {
        options.onWarning?.({ message: `a TLS connection was refused: ${error.message}` });
      });
    }
  }

  /** Errors: KV_CONFIG when the address cannot be listened on. */
  listen(): Promise<{ readonly host: string; readonly port: number }> {
    const { host, port } = this.#options.listen;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        const hint = 'Choose another peer address, or stop what uses this one.';
        const message = `cannot listen for peers on ${host}:${port} (${error.message}). ${hint}`;
        reject(new KvError('KV_CONFIG', message, { cause: error, details: { hint } }));
      });
      this.#server.listen(port, host, () => {
        this.#server.removeAllListeners('error');
        this.#server.on('error', (error) => {
          this.#options.onWarning?.({ message: `accepting peers failed: ${error.message}` });
        });
        const address = this.#server.address();
        assert(
          typeof address === 'object' && address !== null,
          'a listening server has an address',
        );
        resolve({ host: address.address, port: address.port });
      });
    });
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const connection of this.#strangers) connection.socket.destroy('closed');
    for (const connection of this.#members.values()) connection.socket.end();
    const cancel = this.#options.clock.setTimer(LINGER_MS, () => {
      for (const socket of this.#sockets) socket.destroy();
    });
    await closed;
    cancel();
  }

  /** Raw sockets too: one that stalls within TLS must not outlive close. */
  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #accept(raw: Socket): void {
    const { clock, limits } = this.#options;
    const connection: Connection = {
      socket: new PeerSocket(raw, limits, {
        onItem: (item) => this.#onItem(connection, item),
        onClosed: (reason) => {
          connection.cancelTimer();
          this.#forget(connection);
          if (connection.member !== undefined) {
            connection.socket.reportBytes(connection.member, this.#options.metrics);
          }
          if (reason.violation) this.#warn(connection, reason.text);
        },
      }),
      address: `${raw.remoteAddress ?? 'unknown'}:${raw.remotePort ?? 0}`,
      member: undefined,
      refused: false,
      openRequests: 0,
      cancelTimer: () => undefined,
    };
    connection.cancelTimer = clock.setTimer(HANDSHAKE_MS, () => {
      connection.socket.destroy(`no hello within ${HANDSHAKE_MS} ms`);
    });
    // Its peer pings every second: silence means that the peer is gone.
    raw.setTimeout(2 * SILENCE_MS_MAX, () => connection.socket.destroy('silent for too long'));
    if (this.#strangers.size >= STRANGERS_MAX) {
      const [oldest] = this.#strangers;
      oldest?.socket.destroy('too many connections without a hello');
      if (oldest !== undefined) this.#strangers.delete(oldest);
    }
    this.#strangers.add(connection);
  }

  #onItem(connection: Connection, item: PeerItem): void {
    const { member } = connection;
    if (connection.refused) return;
    if (member === undefined) this.#onHello(connection, item);
    else this.#onMemberItem(connection, member, item);
  }

  #onMemberItem(connection: Connection, member: MemberId, item: PeerItem): void {
    switch (item.kind) {
      case 'messages':
        for (const [shard, payload] of item.messages) {
          this.#events.onMessage(member, { shard, payload });
        }
        break;
      case 'request':
        void this.#answer(connection, member, item.id, item.payload);
        break;
      case 'ping':
        connection.socket.reportBytes(member, this.#options.metrics);
        connection.socket.item({ kind: 'pong' });
        break;
      case 'hello':
      case 'response':
      case 'response-error':
      case 'pong':
        connection.socket.destroy(`unexpected ${item.kind} on an accepted connection`, true);
        break;
    }
  }

  #onHello(connection: Connection, item: PeerItem): void {
    // Also a refused peer hears who this is, so that its own warning can say what is wrong.
    const refusal = helloRefusal(this.#options, item);
    connection.socket.item(ownHello(this.#options, refusal));
    if (refusal !== undefined || item.kind !== 'hello') {
      this.#warn(connection, refusal ?? 'no hello');
      this.#forget(connection);
      connection.refused = true;
      connection.socket.end();
      return;
    }
    connection.cancelTimer();
    this.#strangers.delete(connection);
    connection.member = item.memberId;
    const earlier = this.#members.get(item.memberId);
    this.#members.set(item.memberId, connection);
    earlier?.socket.destroy('replaced by a newer connection of the same member');
    this.#events.onHello(item);
  }

  async #answer(
    connection: Connection,
    from: MemberId,
    id: number,
    payload: unknown,
  ): Promise<void> {
    const { socket } = connection;
    const fail = (error: KvError): void => {
      const plain = plainError(error);
      const queued = socket.item({ kind: 'response-error', id, error: plain }, plain);
      if (queued !== 'queued') socket.destroy('it does not read its answers');
    };
    if (connection.openRequests >= this.#options.limits.peerRequestsMax) {
      return fail(new KvError('KV_TOO_MANY_REQUESTS', 'too many forwarded requests'));
    }
    connection.openRequests += 1;
    try {
      const answer = await this.#events.onRequest(from, payload);
      const queued = socket.item({ kind: 'response', id, payload: answer }, answer);
      if (queued === 'full') socket.destroy('it does not read its answers');
      if (queued === 'too-large') {
        const message = 'the answer is larger than a frame between members';
        fail(new KvError('KV_REQUEST_TOO_LARGE', message, { outcome: 'unknown' }));
      }
    } catch (error) {
      if (error instanceof InvariantError) throw error; // a bug: unhandled, it stops the process
      const message = 'the member failed while answering';
      fail(
        isKvError(error) ? error : new KvError('KV_UNAVAILABLE', message, { outcome: 'unknown' }),
      );
    } finally {
      connection.openRequests -= 1;
    }
  }

  #forget(connection: Connection): void {
    this.#strangers.delete(connection);
    const { member } = connection;
    if (member !== undefined && this.#members.get(member) === connection) {
      this.#members.delete(member);
    }
  }

  #warn(connection: Connection, text: string): void {
    const { member, address } = connection;
    const who = member === undefined ? 'a peer' : `member ${formatId(member)}`;
    this.#options.onWarning?.({
      ...(member === undefined ? {} : { peer: member }),
      message: `connection from ${who} (${address}) dropped: ${text}`,
    });
  }
}

interface Connection {
  readonly socket: PeerSocket;
  readonly address: string;
  member: MemberId | undefined;
  /** Its hello was refused: nothing it sends counts any more. */
  refused: boolean;
  openRequests: number;
  cancelTimer: () => void;
}
