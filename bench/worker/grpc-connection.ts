import { connect, type Socket } from 'node:net';
import { HpackEncoder } from './hpack-encoder.ts';
import { StatusReader } from './status-reader.ts';

/** Frame types and flags of HTTP/2 (RFC 9113 §6). */
const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
/** Error code of a reset. */
const CANCEL = 8;
const END_STREAM = 0x1;
const ACK = 0x1;
const END_HEADERS = 0x4;

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const FRAME_HEADER_BYTES = 9;
/** Before each message of gRPC: whether it is compressed, and its length. */
export const PREFIX_BYTES = 5;
const ARENA_BYTES = 65_536;
const DEFAULT_WINDOW = 65_535;
const SETTINGS_INITIAL_WINDOW_SIZE = 4;
/** What we let the server send before we must grant it more: large, so that grants are rare. */
const RECEIVE_WINDOW = 2 ** 30;
/** Stream ids are odd 31-bit numbers and are never reused. */
const STREAM_ID_MAX = 2 ** 31 - 1;

/** The server ended the call with another status than OK, or the connection ended under it. */
export class GrpcCallError extends Error {
  override readonly name = 'GrpcCallError';
}

/** What takes the answers of one call. */
export interface Receiver {
  /** A part of the answer's messages, prefixes among them; valid during the call. */
  onData(bytes: Buffer): void;
  /** Undefined: all went well. Called once, last. */
  onEnd(error: GrpcCallError | undefined): void;
}

/** A call with one message each way: no more of the answer is kept than is asked for. */
class UnaryCall implements Receiver {
  readonly #resolve: (messageBytes: number | undefined) => void;
  readonly #reject: (error: GrpcCallError) => void;
  /** A message no longer than this says that there is nothing. */
  readonly #emptyBytesMax: number;
  #bytes = -1;

  constructor(
    resolve: (messageBytes: number | undefined) => void,
    reject: (error: GrpcCallError) => void,
    emptyBytesMax: number,
  ) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#emptyBytesMax = emptyBytesMax;
  }

  onData(bytes: Buffer): void {
    this.#bytes = Math.max(this.#bytes, 0) + bytes.length;
  }

  onEnd(error: GrpcCallError | undefined): void {
    if (error !== undefined) this.#reject(error);
    else if (this.#bytes < PREFIX_BYTES) this.#reject(new GrpcCallError('no message'));
    else this.#resolve(this.#bytes > this.#emptyBytesMax ? this.#bytes : undefined);
  }
}

/**
 * One h2c connection that makes gRPC calls with as little CPU as Node allows: all frames of one tick leave in one write, and of the
 * headers of answers only the status is read. On a machine shared with the server every microsecond the driver does not spend is one
 * the server can.
 */
export class GrpcConnection {
  readonly #socket: Socket;
  readonly #hpack: HpackEncoder;
  readonly #statuses = new StatusReader();
  readonly #calls = new Map<number, Receiver>();
  readonly #waiting: (() => void)[] = [];
  #nextStreamId = 1;
  #sendWindow = DEFAULT_WINDOW;
  #received = 0;
  #out: Buffer = Buffer.alloc(0);
  /** Before it everything is written. */
  #outStart = 0;
  #outLength = 0;
  #flushAsked = false;
  #unparsed: Buffer = Buffer.alloc(0);
  #failure: GrpcCallError | undefined;

  private constructor(socket: Socket, authority: string) {
    this.#socket = socket;
    this.#hpack = new HpackEncoder(authority);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#fail(error.message));
    socket.on('close', () => this.#fail('connection closed'));
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(SETTINGS_INITIAL_WINDOW_SIZE, 0);
    settings.writeUInt32BE(RECEIVE_WINDOW, 2);
    this.#append(PREFACE);
    this.#frame(SETTINGS, 0, 0, settings);
    this.#grant(RECEIVE_WINDOW - DEFAULT_WINDOW);
  }

  /** Opens a connection to `host:port`. Rejects when nobody listens there. */
  static async open(endpoint: string): Promise<GrpcConnection> {
    const colon = endpoint.lastIndexOf(':');
    const host = endpoint.slice(0, colon);
    const port = Number(endpoint.slice(colon + 1));
    const socket = connect({ host, port, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new GrpcConnection(socket, endpoint);
  }

  /** Calls `path` with one encoded message; resolves to the length of the answer's, undefined up to `emptyBytesMax`. */
  call(path: string, message: Uint8Array, emptyBytesMax: number = -1): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      this.unary(path, message, new UnaryCall(resolve, reject, emptyBytesMax));
    });
  }

  /** Calls `path` with one encoded message. */
  unary(path: string, message: Uint8Array, receiver: Receiver): void {
    const start = (): void => {
      const id = this.begin(path, receiver);
      if (id !== undefined) this.#message(id, message, END_STREAM);
    };
    if (this.#failure === undefined && this.#sendWindow < message.length + PREFIX_BYTES) {
      this.#waiting.push(start);
    } else {
      start();
    }
  }

  /** Begins a call without an end; undefined when it cannot, which the receiver is told. */
  begin(path: string, receiver: Receiver): number | undefined {
    const id = this.#nextStreamId;
    if (id > STREAM_ID_MAX) {
      this.#fail('the stream ids of this connection are used up');
    }
    if (this.#failure !== undefined) {
      receiver.onEnd(this.#failure);
      return undefined;
    }
    this.#nextStreamId += 2;
    this.#calls.set(id, receiver);
    this.#frame(HEADERS, END_HEADERS, id, this.#hpack.block(path));
    return id;
  }

  /** A message on a call that goes on: small ones, and not before the answer to the one before, so that no window runs out. */
  send(id: number, message: Uint8Array): void {
    this.#message(id, message, 0);
  }

  /** Ends a call whose answer nobody wants any more; its receiver hears nothing further. */
  cancel(id: number): void {
    if (!this.#calls.delete(id)) return;
    const code = Buffer.alloc(4);
    code.writeUInt32BE(CANCEL, 0);
    this.#frame(RST_STREAM, 0, id, code);
  }

  close(): void {
    this.#socket.destroy();
  }

  #message(streamId: number, message: Uint8Array, flags: number): void {
    const length = message.length + PREFIX_BYTES;
    this.#sendWindow -= length;
    this.#frameHeader(length, DATA, flags, streamId);
    this.#reserve(length);
    this.#out[this.#outLength] = 0; // not compressed
    this.#out.writeUInt32BE(message.length, this.#outLength + 1);
    this.#out.set(message, this.#outLength + PREFIX_BYTES);
    this.#outLength += length;
    this.#askFlush();
  }

  #frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.#frameHeader(payload.length, type, flags, streamId);
    this.#append(payload);
    this.#askFlush();
  }

  #frameHeader(length: number, type: number, flags: number, streamId: number): void {
    this.#reserve(FRAME_HEADER_BYTES);
    const at = this.#outLength;
    this.#out.writeUIntBE(length, at, 3);
    this.#out[at + 3] = type;
    this.#out[at + 4] = flags;
    this.#out.writeUInt32BE(streamId, at + 5);
    this.#outLength += FRAME_HEADER_BYTES;
  }

  #append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#out.set(bytes, this.#outLength);
    this.#outLength += bytes.length;
  }

  #reserve(length: number): void {
    if (this.#outLength + length <= this.#out.length) return;
    const kept = this.#outLength - this.#outStart;
    // What was written lies in the old one until it is sent.
    const next = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, 2 * (kept + length)));
    this.#out.copy(next, 0, this.#outStart, this.#outLength);
    this.#out = next;
    this.#outStart = 0;
    this.#outLength = kept;
  }

  #askFlush(): void {
    if (this.#flushAsked) return;
    this.#flushAsked = true;
    // nextTick runs after every promise callback of this turn, so one write carries all their calls.
    process.nextTick(() => {
      this.#flushAsked = false;
      const full = this.#out.subarray(this.#outStart, this.#outLength);
      this.#outStart = this.#outLength;
      this.#socket.write(full);
    });
  }

  #grant(bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(bytes, 0);
    this.#frame(WINDOW_UPDATE, 0, 0, payload);
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#unparsed.length === 0 ? chunk : Buffer.concat([this.#unparsed, chunk]);
    let at = 0;
    while (at + FRAME_HEADER_BYTES <= bytes.length) {
      const length = bytes.readUIntBE(at, 3);
      const end = at + FRAME_HEADER_BYTES + length;
      if (end > bytes.length) break;
      const type = bytes[at + 3] ?? 0;
      const flags = bytes[at + 4] ?? 0;
      const streamId = bytes.readUInt32BE(at + 5) & 0x7fff_ffff;
      this.#onFrame(type, flags, streamId, bytes.subarray(at + FRAME_HEADER_BYTES, end));
      at = end;
    }
    this.#unparsed = bytes.subarray(at);
  }

  #onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case DATA:
        this.#onData(streamId, payload);
        // The status comes in headers, always.
        if ((flags & END_STREAM) !== 0) this.#end(streamId, 'no status');
        break;
      case HEADERS:
        this.#onHeaders(flags, streamId, payload);
        break;
      case RST_STREAM:
        this.#end(streamId, `reset, code ${payload.readUInt32BE(0)}`);
        break;
      case SETTINGS:
        if ((flags & ACK) === 0) this.#frame(SETTINGS, ACK, 0, Buffer.alloc(0));
        break;
      case PING:
        if ((flags & ACK) === 0) this.#frame(PING, ACK, 0, payload);
        break;
      case GOAWAY:
        this.#fail(`the server closed the connection, code ${payload.readUInt32BE(4)}`);
        break;
      case WINDOW_UPDATE:
        if (streamId === 0) this.#onSendWindow(payload.readUInt32BE(0));
        break;
      default:
        break; // extension frames may be ignored (RFC 9113 §4.1)
    }
  }

  #onHeaders(flags: number, streamId: number, block: Buffer): void {
    if ((flags & ~(END_STREAM | END_HEADERS)) !== 0 || (flags & END_HEADERS) === 0) {
      this.#fail('headers in pieces, padded or with priorities');
      return;
    }
    try {
      const status = this.#statuses.read(block);
      if ((flags & END_STREAM) === 0) return;
      this.#end(streamId, status === 0 ? undefined : `status ${status ?? 'missing'}`);
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  #onData(streamId: number, bytes: Buffer): void {
    this.#calls.get(streamId)?.onData(bytes);
    this.#received += bytes.length;
    if (this.#received > RECEIVE_WINDOW / 4) {
      this.#grant(this.#received);
      this.#received = 0;
    }
  }

  #onSendWindow(increment: number): void {
    this.#sendWindow += increment;
    while (this.#waiting.length > 0 && this.#sendWindow > DEFAULT_WINDOW / 16) {
      this.#waiting.shift()?.();
    }
  }

  #end(streamId: number, reason: string | undefined): void {
    const call = this.#calls.get(streamId);
    if (call === undefined) return;
    this.#calls.delete(streamId);
    call.onEnd(reason === undefined ? undefined : new GrpcCallError(reason));
  }

  #fail(reason: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = new GrpcCallError(reason);
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.onEnd(this.#failure);
    for (const start of this.#waiting.splice(0)) start();
  }
}
