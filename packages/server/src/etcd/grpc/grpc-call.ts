import type { Message } from '@bufbuild/protobuf';
import { KvError } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { GrpcCounts } from '../../grpc-counts.ts';
import type { Header, Http2Stream, StreamReceiver } from '../../http2/http2-stream.ts';
import { type GrpcStatus, statusOf } from '../errors.ts';
import { GRPC_STATUS, GrpcError } from '../grpc-error.ts';
import type { Call, Outgoing } from '../service.ts';
import { encodeStatusMessage } from './headers.ts';
import { MessageReader } from './message-reader.ts';
import { metadataOf } from './request-head.ts';
import { RequestQueue } from './request-queue.ts';
import type { ServedMethod } from './served-method.ts';

/** Requests of one call that wait for its handler: small ones cost more than the bytes that flow control counts. */
const QUEUED_REQUESTS_MAX = 8192;
const OK: GrpcStatus = { code: GRPC_STATUS.OK, message: '' };
const STATUS_200: Header = [':status', '200'];
const CONTENT_TYPE: Header = ['content-type', 'application/grpc'];
const STATUS_OK: Header = ['grpc-status', '0'];
const ANSWER_HEADERS: readonly Header[] = [STATUS_200, CONTENT_TYPE];
const OK_TRAILERS: readonly Header[] = [STATUS_OK];

/** What answers have in common. */
export const COMMON_HEADERS: readonly Header[] = [CONTENT_TYPE, STATUS_OK];

/** What all calls of a server share. */
export interface CallEnvironment {
  readonly clock: Clock;
  /** Of one message. */
  readonly receiveBytesMax: number;
  /** Of all requests of one connection. */
  readonly heldBytesMax: number;
  /** The status of what is no refusal but a bug. */
  bug(error: unknown, method: ServedMethod): GrpcStatus;
  readonly counts: GrpcCounts;
  ended(call: GrpcCall, status: number): void;
}

function statusHeaders({ code, message }: GrpcStatus): readonly Header[] {
  if (message === '') return code === GRPC_STATUS.OK ? OK_TRAILERS : [['grpc-status', `${code}`]];
  return [
    ['grpc-status', `${code}`],
    ['grpc-message', encodeStatusMessage(message)],
  ];
}

/** Answers with a status and nothing else. */
export function refuse(stream: Http2Stream, http: number, status: GrpcStatus): void {
  const headers: Header[] = [[':status', `${http}`], CONTENT_TYPE, ...statusHeaders(status)];
  stream.respond(headers, true);
}

/** What a call is known by beside its method and stream. */
export interface CallFacts {
  readonly timeoutMs: number | undefined;
  readonly commonName: string | undefined;
}

/** One call: its requests to the handler, the handler's answers and its status to the caller. */
export class GrpcCall implements Call, Outgoing<Message>, StreamReceiver {
  readonly method: ServedMethod;
  readonly deadlineMs: number | undefined;
  readonly commonName: string | undefined;
  readonly startedMs: number;
  readonly #environment: CallEnvironment;
  readonly #stream: Http2Stream;
  readonly #reader: MessageReader;
  #requests: RequestQueue<Message> | undefined;
  #handling = false;
  #metadata: ReadonlyMap<string, string> | undefined;
  #abort: AbortController | undefined;
  #cancelDeadline: (() => void) | undefined;
  #drained: (() => void)[] = [];
  /** Of the message that has not arrived whole. */
  #heldBytes = 0;
  /** Of the one that is being answered. */
  #requestBytes = 0;
  /** Its status is sent, or nobody is there to read it. */
  #over = false;

  constructor(
    environment: CallEnvironment,
    method: ServedMethod,
    stream: Http2Stream,
    { timeoutMs, commonName }: CallFacts,
  ) {
    this.#environment = environment;
    this.method = method;
    this.#stream = stream;
    this.commonName = commonName;
    this.#reader = new MessageReader(environment.receiveBytesMax);
    const { clock } = environment;
    this.startedMs = clock.nowMs();
    if (timeoutMs !== undefined) {
      this.deadlineMs = this.startedMs + timeoutMs;
      this.#cancelDeadline = clock.setTimer(timeoutMs, () =>
        this.end({ code: GRPC_STATUS.DEADLINE_EXCEEDED, message: 'context deadline exceeded' }),
      );
    }
  }

  get metadata(): ReadonlyMap<string, string> {
    this.#metadata ??= metadataOf(this.#stream.headers ?? []);
    return this.#metadata;
  }

  /** Made when it is asked for: most calls are answered before anybody does. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#over) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  /** True while the handler waits for a first request. */
  get isWaiting(): boolean {
    return !this.#handling;
  }

  start(): void {
    const { kind, handle } = this.method;
    if (kind !== 'bidi_streaming') return;
    const room = (): void => this.#stream.release();
    this.#requests = new RequestQueue<Message>(room, (change) => this.holds(change));
    this.#handle(handle(this.#requests, this, this));
  }

  send(message: Message): boolean {
    if (this.#over) return true;
    if (!this.#stream.headersSent) this.#stream.respond(ANSWER_HEADERS, false);
    const frame = this.method.encode(message);
    this.#environment.counts.sentBytes += frame.length;
    return this.#stream.write(frame);
  }

  drained(): Promise<void> {
    if (this.#over || this.#stream.queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Ends the call with a status, unless it has one. */
  end(status: GrpcStatus): void {
    if (this.#over) return;
    const stream = this.#stream;
    if (stream.headersSent) stream.end(statusHeaders(status));
    else refuse(stream, 200, status);
    this.#leave(status.code);
  }

  onData(chunk: Buffer): void {
    if (this.#over) return;
    try {
      this.#reader.push(chunk);
      for (let body = this.#reader.next(); body !== undefined; body = this.#reader.next()) {
        this.#environment.counts.receivedBytes += body.length;
        this.#onMessage(body);
      }
      this.#holds(this.#reader.heldBytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  onEnd(): void {
    if (this.#over) return;
    if (this.#reader.partialBytes > 0) this.#fail(new GrpcError('INTERNAL', 'unexpected EOF'));
    else if (this.#requests !== undefined) this.#requests.end();
    else if (!this.#handling) this.#fail(new GrpcError('INTERNAL', 'EOF'));
  }

  onClosed(): void {
    if (!this.#over) this.#leave(GRPC_STATUS.CANCELLED);
    this.onDrained();
  }

  onDrained(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Of what the handler keeps as well; its connection ends with too much of it. */
  holds(change: number): void {
    this.#stream.holds(change);
  }

  /** Errors: KV_TOO_MANY_REQUESTS. */
  #holds(bytes: number): void {
    if (bytes === this.#heldBytes || (bytes > 0 && this.#over)) return;
    const change = bytes - this.#heldBytes;
    this.#heldBytes = bytes;
    this.holds(change);
    if (change > 0) this.#checkRoom();
  }

  /** Errors: KV_TOO_MANY_REQUESTS. */
  #checkRoom(): void {
    const { heldBytesMax } = this.#environment;
    if (this.#stream.connectionBytes > heldBytesMax) throw new KvError('KV_TOO_MANY_REQUESTS');
  }

  /** What runs for the call is told to stop. */
  #leave(code: number): void {
    this.#over = true;
    this.#holds(0);
    if (this.#requestBytes > 0) this.holds(-this.#requestBytes);
    this.#cancelDeadline?.();
    this.#requests?.drop();
    this.#environment.ended(this, code);
    this.#abort?.abort();
    this.onDrained();
  }

  #onMessage(body: Uint8Array): void {
    const { method } = this;
    if (method.kind === 'bidi_streaming') {
      const waiting = this.#requests?.push(method.decode(body), body.length) ?? 0;
      if (waiting > 0) {
        this.#stream.hold();
        this.#checkRoom();
      }
      if (waiting > QUEUED_REQUESTS_MAX) {
        throw new GrpcError('RESOURCE_EXHAUSTED', 'too many requests wait on this stream');
      }
      return;
    }
    if (this.#handling) return;
    const request = method.decode(body);
    this.#requestBytes = body.length;
    this.holds(body.length);
    if (method.kind === 'unary') this.#answer(method.handle(request, this));
    else this.#handle(method.handle(request, this, this));
  }

  #answer(result: Promise<Message>): void {
    this.#handling = true;
    result.then(
      (message) => {
        if (!this.#over) this.send(message);
        this.end(OK);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #handle(result: Promise<void>): void {
    this.#handling = true;
    result.then(
      () => {
        if (!this.#over && !this.#stream.headersSent) this.#stream.respond(ANSWER_HEADERS, false);
        this.end(OK);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #fail(error: unknown): void {
    if (!this.#over) this.end(statusOf(error) ?? this.#environment.bug(error, this.method));
  }
}
