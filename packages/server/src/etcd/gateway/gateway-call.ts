import type { IncomingHttpHeaders } from 'node:http';
import type { Message } from '@bufbuild/protobuf';
import type { Clock } from '@kvorum/ports';
import { type GrpcStatus, statusOf } from '../errors.ts';
import { parseTimeout } from '../grpc/headers.ts';
import { RequestQueue } from '../grpc/request-queue.ts';
import { GRPC_STATUS, GrpcError } from '../grpc-error.ts';
import type { Call, Method, Outgoing } from '../service.ts';
import { statusBody, streamError } from './http-status.ts';
import { messageFromJson, messageToJson } from './message-json.ts';
import { metadataOf } from './metadata.ts';

/** Requests of one call that wait for its handler; then the caller is held up. */
const QUEUED_REQUESTS_MAX = 16;
const OK: GrpcStatus = { code: GRPC_STATUS.OK, message: '' };

/** The caller of one call: a request of HTTP/1, or a WebSocket. */
export interface Caller {
  readonly headers: IncomingHttpHeaders;
  /** One JSON object. False: the caller is slow. */
  send(text: string): boolean;
  /** Whether it is slow now. */
  readonly full: boolean;
  /** Calls back when there is room again; returns how to stop that. */
  onRoom(listener: () => void): () => void;
  /** So many bytes more, or less, are held for it. */
  holds(change: number): void;
  /** Stops the flow of requests, and lets it go on. */
  pause(): void;
  resume(): void;
  /** The last word of a call; `text` when there is something to say. */
  end(status: GrpcStatus, text: string | undefined): void;
}

export interface GatewayEnvironment {
  readonly clock: Clock;
  /** The status of what is no refusal but a bug. */
  bug(error: unknown, method: Method): GrpcStatus;
  ended(call: GatewayCall, status: GrpcStatus | undefined): void;
}

function deadlineOf(headers: IncomingHttpHeaders): number | undefined {
  const header = headers['grpc-timeout'];
  if (header === undefined) return undefined;
  const timeoutMs = parseTimeout(String(header));
  if (timeoutMs === undefined) {
    throw new GrpcError('INVALID_ARGUMENT', `invalid grpc-timeout: ${String(header)}`);
  }
  return timeoutMs;
}

/** One call: JSON objects of the caller to the handler, the handler's answers and errors to the caller. */
export class GatewayCall implements Call, Outgoing<Message> {
  readonly method: Method;
  readonly metadata: ReadonlyMap<string, string>;
  readonly deadlineMs: number | undefined;
  readonly #environment: GatewayEnvironment;
  readonly #caller: Caller;
  readonly #abort = new AbortController();
  readonly #requests: RequestQueue<Message> | undefined;
  #cancelDeadline: (() => void) | undefined;
  #handling = false;
  /** Its last word is said, or nobody is there to read it. */
  #over = false;

  /** Errors: INVALID_ARGUMENT for a time-out that is none. */
  constructor(environment: GatewayEnvironment, method: Method, caller: Caller) {
    this.#environment = environment;
    this.method = method;
    this.#caller = caller;
    this.metadata = metadataOf(caller.headers);
    if (method.kind === 'bidi_streaming') {
      this.#requests = new RequestQueue(
        () => caller.resume(),
        (change) => this.holds(change),
      );
    }
    const timeoutMs = deadlineOf(caller.headers);
    if (timeoutMs === undefined) return;
    const { clock } = environment;
    this.deadlineMs = clock.nowMs() + timeoutMs;
    this.#cancelDeadline = clock.setTimer(timeoutMs, () =>
      this.fail(new GrpcError('DEADLINE_EXCEEDED', 'context deadline exceeded')),
    );
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  holds(change: number): void {
    this.#caller.holds(change);
  }

  /** The handler of many requests does not wait for the first. */
  start(): void {
    if (this.method.kind !== 'bidi_streaming' || this.#requests === undefined) return;
    try {
      this.#handle(this.method.handle(this.#requests, this, this));
    } catch (error) {
      this.fail(error);
    }
  }

  /** One request; further ones of a call that takes one are ignored. */
  request(body: Uint8Array): void {
    const { method } = this;
    if (this.#over || (this.#handling && method.kind !== 'bidi_streaming')) return;
    try {
      const message = messageFromJson(method.descriptor.input, body);
      if (method.kind === 'bidi_streaming') {
        const waiting = this.#requests?.push(message, body.length) ?? 0;
        if (waiting >= QUEUED_REQUESTS_MAX) this.#caller.pause();
      } else if (method.kind === 'unary') {
        this.#answer(method.handle(message, this));
      } else {
        this.#handle(method.handle(message, this, this));
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** No more requests come. */
  halfClose(): void {
    this.#requests?.end();
  }

  /** Nobody is there any more. */
  gone(): void {
    if (!this.#over) this.#leave(undefined);
  }

  send(message: Message): boolean {
    if (this.#over) return true;
    const result = messageToJson(this.method.descriptor.output, message);
    return this.#caller.send(JSON.stringify({ result }));
  }

  drained(): Promise<void> {
    if (this.#over || !this.#caller.full) return Promise.resolve();
    const { signal } = this;
    return new Promise((resolve) => {
      const done = (): void => {
        stop();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const stop = this.#caller.onRoom(done);
      signal.addEventListener('abort', done);
    });
  }

  fail(error: unknown): void {
    if (this.#over) return;
    const status = statusOf(error) ?? this.#environment.bug(error, this.method);
    this.#end(status, this.method.kind === 'unary' ? statusBody(status) : streamError(status));
  }

  #answer(result: Promise<Message>): void {
    this.#handling = true;
    result
      .then((message) => {
        const json = messageToJson(this.method.descriptor.output, message);
        this.#end(OK, JSON.stringify(json));
      })
      .catch((error: unknown) => this.fail(error));
  }

  #handle(result: Promise<void>): void {
    this.#handling = true;
    result.then(() => this.#end(OK, undefined)).catch((error: unknown) => this.fail(error));
  }

  #end(status: GrpcStatus, text: string | undefined): void {
    if (this.#over) return;
    this.#leave(status);
    this.#caller.end(status, text);
  }

  /** What runs for the call is told to stop. */
  #leave(status: GrpcStatus | undefined): void {
    this.#over = true;
    this.#cancelDeadline?.();
    this.#requests?.drop();
    this.#environment.ended(this, status);
    this.#abort.abort();
  }
}
