import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import type { Clock } from '@kvorum/ports';
import { type GrpcStatus, statusOf } from '../errors.ts';
import { GRPC_STATUS, GrpcError } from '../grpc-error.ts';
import type { Call, Method, Outgoing } from '../service.ts';
import { encodeStatusMessage } from './headers.ts';
import { MessageReader } from './message-reader.ts';
import { RequestQueue } from './request-queue.ts';

const PREFIX_BYTES = 5;
/** Requests of one call that wait for its handler; then the caller is held up. */
const QUEUED_REQUESTS_MAX = 16;
const OK: GrpcStatus = { code: GRPC_STATUS.OK, message: '' };
const ANSWER_HEADERS = { ':status': 200, 'content-type': 'application/grpc' };

/** What all calls of a server share. */
export interface CallEnvironment {
  readonly clock: Clock;
  /** Of one message. */
  readonly receiveBytesMax: number;
  /** The status of what is no refusal but a bug. */
  bug(error: unknown, method: Method): GrpcStatus;
  ended(call: GrpcCall): void;
}

export interface CallStart {
  readonly method: Method;
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** What its caller gives it. */
  readonly timeoutMs: number | undefined;
}

function frameOf(method: Method, message: Message): Buffer {
  const body = toBinary(method.descriptor.output, message);
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + body.length);
  frame[0] = 0;
  frame.writeUInt32BE(body.length, 1);
  frame.set(body, PREFIX_BYTES);
  return frame;
}

/** The headers of an answer without a message. */
export function statusHeaders({ code, message }: GrpcStatus): Record<string, string | number> {
  const text = message === '' ? {} : { 'grpc-message': encodeStatusMessage(message) };
  return { 'grpc-status': code, ...text };
}

/** After an answer of headers alone: what may still come of the request is not read, and its sender is told so. */
export function leaveRequest(stream: ServerHttp2Stream): void {
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}

/** One call: its requests to the handler, the handler's answers and its status to the caller. */
export class GrpcCall implements Call, Outgoing<Message> {
  readonly method: Method;
  readonly deadlineMs: number | undefined;
  readonly #environment: CallEnvironment;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #reader: MessageReader;
  #requests: RequestQueue<Message> | undefined;
  #handling = false;
  #metadata: Map<string, string> | undefined;
  #abort: AbortController | undefined;
  #cancelDeadline: (() => void) | undefined;
  /** Its status is sent, or nobody is there to read it. */
  #over = false;

  constructor(environment: CallEnvironment, { method, stream, headers, timeoutMs }: CallStart) {
    this.#environment = environment;
    this.method = method;
    this.#stream = stream;
    this.#headers = headers;
    this.#reader = new MessageReader(environment.receiveBytesMax);
    if (timeoutMs !== undefined) {
      const { clock } = environment;
      this.deadlineMs = clock.nowMs() + timeoutMs;
      this.#cancelDeadline = clock.setTimer(timeoutMs, () =>
        this.end({ code: GRPC_STATUS.DEADLINE_EXCEEDED, message: 'context deadline exceeded' }),
      );
    }
  }

  get metadata(): ReadonlyMap<string, string> {
    if (this.#metadata === undefined) {
      this.#metadata = new Map();
      for (const [name, value] of Object.entries(this.#headers)) {
        if (value === undefined || name.startsWith(':')) continue;
        this.#metadata.set(name, typeof value === 'string' ? value : value.join(','));
      }
    }
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

  start(): void {
    const stream = this.#stream;
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.on('end', () => this.#onHalfClose());
    stream.on('close', () => this.#onClose());
    if (this.method.kind === 'bidi_streaming') {
      const requests = new RequestQueue<Message>(QUEUED_REQUESTS_MAX, () => stream.resume());
      this.#requests = requests;
      this.#handle(this.method.handle(requests, this, this));
    }
  }

  send(message: Message): boolean {
    if (this.#over) return true;
    this.#respond();
    return this.#stream.write(frameOf(this.method, message));
  }

  drained(): Promise<void> {
    const stream = this.#stream;
    if (this.#over || !stream.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        stream.off('drain', done);
        this.signal.removeEventListener('abort', done);
        resolve();
      };
      stream.on('drain', done);
      this.signal.addEventListener('abort', done);
    });
  }

  /** Ends the call with a status, unless it has one. */
  end(status: GrpcStatus): void {
    if (this.#over) return;
    const stream = this.#stream;
    this.#leave();
    if (stream.closed || stream.destroyed) return;
    if (stream.headersSent) {
      stream.once('wantTrailers', () => stream.sendTrailers(statusHeaders(status)));
      stream.end();
      stream.resume(); // a reset would overtake the trailers
    } else {
      stream.respond({ ...ANSWER_HEADERS, ...statusHeaders(status) }, { endStream: true });
      leaveRequest(stream);
    }
  }

  /** What runs for the call is told to stop. */
  #leave(): void {
    this.#over = true;
    this.#cancelDeadline?.();
    this.#requests?.drop();
    this.#environment.ended(this);
    this.#abort?.abort();
  }

  #respond(): void {
    if (!this.#stream.headersSent) this.#stream.respond(ANSWER_HEADERS, { waitForTrailers: true });
  }

  #onData(chunk: Buffer): void {
    if (this.#over) return;
    try {
      this.#reader.push(chunk);
      for (let body = this.#reader.next(); body !== undefined; body = this.#reader.next()) {
        this.#onMessage(body);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #decode(body: Uint8Array): Message {
    try {
      return fromBinary(this.method.descriptor.input, body);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new GrpcError('INTERNAL', `grpc: error unmarshalling request: ${text}`);
    }
  }

  #onMessage(body: Uint8Array): void {
    const { method } = this;
    if (method.kind === 'bidi_streaming') {
      if (this.#requests?.push(this.#decode(body)) === false) this.#stream.pause();
      return;
    }
    if (this.#handling) return;
    const request = this.#decode(body);
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
        if (!this.#over) this.#respond();
        this.end(OK);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #fail(error: unknown): void {
    if (!this.#over) this.end(statusOf(error) ?? this.#environment.bug(error, this.method));
  }

  #onHalfClose(): void {
    if (this.#over) return;
    if (this.#reader.partialBytes > 0) this.#fail(new GrpcError('INTERNAL', 'unexpected EOF'));
    else if (this.#requests !== undefined) this.#requests.end();
    else if (!this.#handling) this.#fail(new GrpcError('INTERNAL', 'EOF'));
  }

  #onClose(): void {
    if (!this.#over) this.#leave();
  }
}
