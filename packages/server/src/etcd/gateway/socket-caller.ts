import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import type { SocketMemory } from '../../http/http-memory.ts';
import type { GrpcStatus } from '../errors.ts';
import type { Caller } from './gateway-call.ts';

/** More than this unread, and the caller is slow. */
const UNREAD_BYTES_MAX = 65_536;
const NORMAL = 1000;

/** A browser cannot set headers of a WebSocket: the subprotocols `Bearer, <token>` stand for Authorization. As etcd's proxy has it. */
function headersOf(request: IncomingMessage): IncomingHttpHeaders {
  const [scheme, token] = (request.headers['sec-websocket-protocol'] ?? '').split(/, */);
  if (scheme !== 'Bearer' || token === undefined) return request.headers;
  return { ...request.headers, authorization: `Bearer ${token}` };
}

/** A WebSocket as a caller: one JSON object a message, both ways. */
export class SocketCaller implements Caller {
  readonly headers: IncomingHttpHeaders;
  readonly #ws: WebSocket;
  readonly #waiting = new Set<() => void>();

  readonly #memory: SocketMemory;

  constructor(request: IncomingMessage, ws: WebSocket, memory: SocketMemory) {
    this.headers = headersOf(request);
    this.#ws = ws;
    this.#memory = memory;
  }

  holds(change: number): void {
    this.#memory.add(change);
  }

  get full(): boolean {
    return this.#ws.bufferedAmount > UNREAD_BYTES_MAX;
  }

  send(text: string): boolean {
    this.#ws.send(text, () => {
      this.#memory.countUnread();
      if (this.full) return;
      for (const listener of [...this.#waiting]) listener();
    });
    this.#memory.countUnread();
    return !this.full;
  }

  onRoom(listener: () => void): () => void {
    this.#waiting.add(listener);
    return () => this.#waiting.delete(listener);
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  end(_status: GrpcStatus, text: string | undefined): void {
    if (text !== undefined) this.#ws.send(text);
    this.#ws.close(NORMAL);
  }
}
