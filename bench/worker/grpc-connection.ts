import { connect, type Socket } from 'node:net';
import { HpackEncoder } from './hpack-encoder.ts';

/** Frame types and flags of HTTP/2 (RFC 9113 §6). */
const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const END_STREAM = 0x1;
const ACK = 0x1;
const END_HEADERS = 0x4;

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const FRAME_HEADER_BYTES = 9;
const DEFAULT_WINDOW = 65_535;
const SETTINGS_INITIAL_WINDOW_SIZE = 4;
/** What we let the server send before we must grant it more: large, so that grants are rare. */
const RECEIVE_WINDOW = 2 ** 30;
/** Stream ids are odd 31-bit numbers and are never reused. */
const STREAM_ID_MAX = 2 ** 31 - 1;

/** The server closed the call without a message, or the connection ended under it. */
export class GrpcCallError extends Error {
  override readonly name = 'GrpcCallError';
}

interface Call {
  readonly resolve: (messageBytes: number | undefined) => void;
  readonly reject: (error: GrpcCallError) => void;
  messageBytes: number;
  /** A message no longer than this says that there is nothing. */
  readonly emptyBytesMax: number;
}

/**
 * One h2c connection that makes unary gRPC calls with as little CPU as Node allows: all frames of one tick
 * leave in one write, and response headers are not decoded. A unary call that failed has no message,
 * so "a message, then the end of the stream" is success. On a machine shared with the server every
 * microsecond the driver does not spend is one the server can.
 */
export class GrpcConnection {
  readonly #socket: Socket;
  readonly #hpack: HpackEncoder;
  readonly #calls = new Map<number, Call>();
  readonly #waiting: (() => void)[] = [];
  #nextStreamId = 1;
  #sendWindow = DEFAULT_WINDOW;
  #received = 0;
  #out: Buffer = Buffer.allocUnsafe(256 * 1024);
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
      const call = { resolve, reject, messageBytes: -1, emptyBytesMax };
      const start = (): void => this.#start(path, message, call);
      if (this.#failure !== undefined) reject(this.#failure);
      else if (this.#sendWindow < message.length + 5) this.#waiting.push(start);
      else start();
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #start(path: string, message: Uint8Array, call: Call): void {
    const streamId = this.#nextStreamId;
    if (streamId > STREAM_ID_MAX) {
      call.reject(new GrpcCallError('the stream ids of this connection are used up'));
      return;
    }
    this.#nextStreamId += 2;
    this.#calls.set(streamId, call);
    this.#frame(HEADERS, END_HEADERS, streamId, this.#hpack.block(path));
    const length = message.length + 5;
    this.#sendWindow -= length;
    this.#frameHeader(length, DATA, END_STREAM, streamId);
    this.#reserve(length);
    this.#out[this.#outLength] = 0; // not compressed
    this.#out.writeUInt32BE(message.length, this.#outLength + 1);
    this.#out.set(message, this.#outLength + 5);
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
    const larger = Buffer.allocUnsafe(2 * (this.#out.length + length));
    this.#out.copy(larger, 0, 0, this.#outLength);
    this.#out = larger;
  }

  #askFlush(): void {
    if (this.#flushAsked) return;
    this.#flushAsked = true;
    // nextTick runs after every promise callback of this turn, so one write carries all their calls.
    process.nextTick(() => {
      this.#flushAsked = false;
      const full = this.#out.subarray(0, this.#outLength);
      this.#out = Buffer.allocUnsafe(Math.max(16 * 1024, 2 * this.#outLength));
      this.#outLength = 0;
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
        this.#onData(streamId, payload.length);
        if ((flags & END_STREAM) !== 0) this.#end(streamId);
        break;
      case HEADERS:
        if ((flags & END_STREAM) !== 0) this.#end(streamId);
        break;
      case RST_STREAM:
        this.#end(streamId);
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

  #onData(streamId: number, length: number): void {
    const call = this.#calls.get(streamId);
    if (call !== undefined) call.messageBytes = Math.max(call.messageBytes, 0) + length;
    this.#received += length;
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

  #end(streamId: number): void {
    const call = this.#calls.get(streamId);
    if (call === undefined) return;
    this.#calls.delete(streamId);
    const { messageBytes, emptyBytesMax } = call;
    if (messageBytes < 0) call.reject(new GrpcCallError('the server refused the call'));
    else call.resolve(messageBytes > emptyBytesMax ? messageBytes : undefined);
  }

  #fail(reason: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = new GrpcCallError(reason);
    for (const call of this.#calls.values()) call.reject(this.#failure);
    this.#calls.clear();
    for (const start of this.#waiting.splice(0)) start();
  }
}
