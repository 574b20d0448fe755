import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { MemoryHolder } from '../../client-memory.ts';
import { discardBody } from '../../http/refused-body.ts';
import type { GrpcStatus } from '../errors.ts';
import { ByteBuffer } from './byte-buffer.ts';
import type { Caller, GatewayCall } from './gateway-call.ts';
import { httpStatusOf } from './http-status.ts';
import { ObjectSplitter } from './object-splitter.ts';

const JSON_TYPE = 'application/json';
/** A dead machine at the other end of a quiet stream is found out by then. */
const KEEP_ALIVE_MS = 30_000;

/** A request of HTTP/1 as a caller. */
export class HttpCaller implements Caller {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  /** The body may stay open as long as the call lasts: its end is not waited for. */
  readonly #bodyIsOpen: boolean;
  readonly #memory: MemoryHolder;
  /** Of answers, since the caller fell behind. */
  #unreadBytes = 0;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    memory: MemoryHolder,
    bodyIsOpen: boolean,
  ) {
    this.#request = request;
    this.#response = response;
    this.#bodyIsOpen = bodyIsOpen;
    this.#memory = memory;
    response.on('close', () => memory.close());
    response.on('drain', () => {
      this.holds(-this.#unreadBytes);
      this.#unreadBytes = 0;
    });
  }

  holds(change: number): void {
    this.#memory.add(change);
  }

  get headers(): IncomingHttpHeaders {
    return this.#request.headers;
  }

  get full(): boolean {
    return this.#response.writableNeedDrain;
  }

  send(text: string): boolean {
    const response = this.#response;
    if (!response.headersSent) {
      response.socket?.setKeepAlive(true, KEEP_ALIVE_MS);
      response.writeHead(200, { 'content-type': JSON_TYPE, 'x-accel-buffering': 'no' });
    }
    const hasRoom = response.write(`${text}\n`);
    if (!hasRoom) {
      this.#unreadBytes += text.length;
      this.holds(text.length);
    }
    return hasRoom;
  }

  onRoom(listener: () => void): () => void {
    this.#response.on('drain', listener);
    return () => this.#response.off('drain', listener);
  }

  pause(): void {
    this.#request.pause();
  }

  resume(): void {
    this.#request.resume();
  }

  end(status: GrpcStatus, text = ''): void {
    const response = this.#response;
    this.holds(text.length);
    if (response.headersSent) {
      response.end(text === '' ? '' : `${text}\n`);
      return;
    }
    void this.#bodyRead().then((read) => {
      if (!read) response.setHeader('connection', 'close');
      const http = httpStatusOf(status);
      if (http === 401) response.setHeader('www-authenticate', 'Bearer');
      if (http === 429 || http === 503) response.setHeader('retry-after', '1');
      response.writeHead(http, {
        'content-type': JSON_TYPE,
        'content-length': Buffer.byteLength(text),
      });
      response.end(text);
    });
  }

  /** A client that is still sending loses an answer that comes with the end of its connection. */
  #bodyRead(): Promise<boolean> {
    return this.#bodyIsOpen ? Promise.resolve(this.#request.complete) : discardBody(this.#request);
  }
}

/** Hands the call each JSON object of the body as it comes, or, when it takes one request, the whole body. */
export function feedFromBody(call: GatewayCall, body: IncomingMessage, bytesMax: number): void {
  const bidirectional = call.method.kind === 'bidi_streaming';
  const splitter = new ObjectSplitter(bytesMax);
  const whole = new ByteBuffer(bytesMax);
  body.on('data', (chunk: Buffer) => {
    if (call.signal.aborted) return;
    try {
      const before = splitter.heldBytes;
      if (bidirectional) for (const object of splitter.push(chunk)) call.request(object);
      else whole.add(chunk);
      call.holds(bidirectional ? splitter.heldBytes - before : chunk.length);
    } catch (error) {
      call.fail(error);
    }
  });
  body.on('end', () => {
    if (!bidirectional) call.request(whole.take());
    else if (splitter.inside) call.fail(splitter.unfinished());
    else call.halfClose();
  });
}
