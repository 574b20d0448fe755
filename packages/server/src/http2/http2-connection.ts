import type { Duplex } from 'node:stream';
import type { MemoryHolder } from '../client-memory.ts';
import type { ConnectionOptions } from './connection-options.ts';
import {
  ConnectionError,
  DEFAULT_WINDOW,
  ERROR,
  expectBytes,
  FLAG,
  FRAME,
  FRAME_BYTES_MAX,
  type Frame,
  FrameReader,
  SETTING,
  settingsIn,
  unpadded,
  WINDOW_MAX,
} from './frames.ts';
import { type HeaderBlock, HeaderBlocks } from './header-blocks.ts';
import { CompressionError } from './header-decoder.ts';
import { HeaderEncoder } from './header-encoder.ts';
import { type Header, Http2Stream, type StreamOwner } from './http2-stream.ts';
import { CONNECTION_WINDOW, STREAM_WINDOW, sendOpening } from './opening.ts';
import { Output } from './output.ts';
import { PingGuard } from './ping-guard.ts';
import { TokenBucket } from './token-bucket.ts';
import { WindowGuard } from './window-guard.ts';

/** Frames that bring nothing, and streams that end in a reset: rapid reset (CVE-2023-44487), settings floods and the like. */
const NUISANCE_BURST = 1000;
const NUISANCES_PER_SECOND = 100;
const START_TIMEOUT_MS = 10_000;
/** Of silence, until the peer is asked whether it is there. */
const PING_AFTER_MS = 30_000;
const PONG_TIMEOUT_MS = 20_000;
const LINGER_MS = 1000;
/** About what a connection and a stream take beside what they are sent. */
const CONNECTION_BYTES = 4096;
const STREAM_BYTES = 1024;

/** One HTTP/2 connection of a client (RFC 9113), without push and priorities. */
export class Http2Connection implements StreamOwner {
  readonly #socket: Duplex;
  readonly #options: ConnectionOptions;
  readonly #reader = new FrameReader();
  readonly #blocks: HeaderBlocks;
  readonly #encoder: HeaderEncoder;
  readonly #output: Output;
  readonly #streams = new Map<number, Http2Stream>();
  /** Those that have something to send and may not. */
  readonly #blocked = new Set<Http2Stream>();
  readonly #pings = new PingGuard();
  readonly #updates = new WindowGuard();
  readonly #nuisances: TokenBucket;
  readonly #memory: Pick<MemoryHolder, 'set' | 'close'>;
  /** Of requests: headers, and what their readers keep. */
  #heldBytes = CONNECTION_BYTES;
  readonly #startedMs: number;
  #lastId = 0;
  /** The last stream that is served, as the peer was told: told once, it holds. RFC 9113 §6.8. */
  #servedId: number | undefined;
  #settled = false;
  #sendWindow = DEFAULT_WINDOW;
  #peerStreamWindow = DEFAULT_WINDOW;
  #uncredited = 0;
  #queuedBytes = 0;
  #heardMs: number;
  #pinged = false;
  #unreadSinceMs: number | undefined;
  #goingAway = false;
  #closed = false;
  #reading = false;
  /** Why it is closed. */
  #reason = 'the client closed it';

  constructor(socket: Duplex, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#blocks = new HeaderBlocks(options.headerListBytesMax);
    this.#encoder = new HeaderEncoder(options.commonHeaders);
    this.#output = new Output(socket);
    this.#startedMs = options.clock.nowMs();
    this.#heardMs = this.#startedMs;
    this.#nuisances = new TokenBucket(NUISANCE_BURST, NUISANCES_PER_SECOND, this.#startedMs);
    this.#memory = options.hold(() => this.#cut(ERROR.enhanceYourCalm, 'too much is held for it'));
    sendOpening(this.#output, options);
    socket.on('data', (chunk: Buffer) => this.#onChunk(chunk));
    socket.on('drain', () => this.#onWindow());
    socket.on('error', (error) => {
      this.#reason = error.message;
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#onClose());
  }

  /** Of answers that the peer has not taken. */
  get queuedBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength;
  }

  /** Of requests that have not arrived whole, or wait. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  holds(change: number): void {
    this.#heldBytes += change;
    this.#account();
  }

  #account(): void {
    this.#memory.set(this.#heldBytes + this.queuedBytes);
  }

  /** No new streams; those that are open go on. The connection ends with the last one. */
  goAway(): void {
    if (this.#goingAway) return;
    this.#sendGoAway(ERROR.none, '');
    this.#goingAway = true;
    this.#output.flush();
    this.#endIfDone();
  }

  terminate(): void {
    this.#reason = 'cut';
    this.#socket.destroy();
  }

  /** Called every now and then: looks for a peer that is slow, silent or gone. */
  check(): void {
    this.#output.rest();
    const nowMs = this.#options.clock.nowMs();
    const { sendBufferBytesMax, unreadMsMax } = this.#options;
    const startMs = this.#blocks.openSinceMs ?? (this.#settled ? nowMs : this.#startedMs);
    if (nowMs - startMs > START_TIMEOUT_MS) this.#cut(ERROR.settingsTimeout, 'too slow to begin');
    if (this.queuedBytes <= sendBufferBytesMax) this.#unreadSinceMs = undefined;
    else this.#unreadSinceMs ??= nowMs;
    if (nowMs - (this.#unreadSinceMs ?? nowMs) > unreadMsMax)
      this.#cut(ERROR.enhanceYourCalm, 'answers are not read');
    this.#account();
    const silentMs = nowMs - this.#heardMs;
    if (silentMs > PING_AFTER_MS + PONG_TIMEOUT_MS) this.#cut(ERROR.none, 'silent');
    else if (silentMs > PING_AFTER_MS && !this.#pinged) {
      this.#pinged = true;
      this.#output.head(FRAME.ping, 0, 0, 8);
      this.#output.uint32(0);
      this.#output.uint32(0);
      this.#output.flush();
    }
  }

  sendHeaders(stream: Http2Stream, headers: readonly Header[], isLast: boolean): void {
    const block = this.#encoder.encode(headers);
    const flags = FLAG.endHeaders | (isLast ? FLAG.endStream : 0);
    this.#output.head(FRAME.headers, flags, stream.id, block.length);
    this.#output.add(block);
    this.#pings.sent();
    if (isLast) this.#answered(stream);
    this.#flushSoon();
    this.queued(0); // headers alone can fill what a peer does not read
  }

  sendQueued(stream: Http2Stream): void {
    while (this.#sendPiece(stream)) {
      // until nothing more may be sent
    }
    if (stream.queuedBytes > 0) {
      this.#blocked.add(stream);
    } else {
      this.#blocked.delete(stream);
      if (stream.trailers !== undefined) this.sendHeaders(stream, stream.trailers, true);
    }
    this.#flushSoon();
  }

  sendReset(stream: Http2Stream, code: number): void {
    this.#output.head(FRAME.resetStream, 0, stream.id, 4);
    this.#output.uint32(code);
    this.#forget(stream);
    this.#flushSoon();
  }

  sendCredit(stream: Http2Stream): void {
    if (stream.held || stream.remoteEnded || stream.uncredited < STREAM_WINDOW / 2) return;
    this.#output.head(FRAME.windowUpdate, 0, stream.id, 4);
    this.#output.uint32(stream.uncredited);
    stream.uncredited = 0;
    this.#flushSoon();
  }

  #sendGoAway(code: number, text: string): void {
    const bytes = Buffer.from(text);
    this.#servedId ??= this.#lastId;
    this.#output.head(FRAME.goAway, 0, 0, 8 + bytes.length);
    this.#output.uint32(this.#servedId);
    this.#output.uint32(code);
    this.#output.add(bytes);
  }

  /** One frame of what is queued; false when there is none, or it may not go. */
  #sendPiece(stream: Http2Stream): boolean {
    const [first] = stream.queue;
    if (first === undefined || this.#socket.writableNeedDrain) return false;
    const may = Math.min(FRAME_BYTES_MAX, this.#sendWindow, stream.sendWindow);
    const length = Math.min(first.length, may);
    if (length <= 0) return false;
    this.#pings.sent();
    this.#updates.moved();
    this.#output.head(FRAME.data, 0, stream.id, length);
    this.#output.add(length === first.length ? first : first.subarray(0, length));
    this.#sendWindow -= length;
    stream.sendWindow -= length;
    stream.queuedBytes -= length;
    this.#queuedBytes -= length;
    if (length === first.length) stream.queue.shift();
    else stream.queue[0] = first.subarray(length);
    return true;
  }

  /** Nothing further will be sent on the stream. */
  #answered(stream: Http2Stream): void {
    // What may still come of the request is not read; its sender is told so.
    if (stream.remoteEnded) this.#forget(stream);
    else this.sendReset(stream, ERROR.none);
  }

  #forget(stream: Http2Stream): void {
    if (stream.closed) return;
    stream.closed = true;
    this.#heldBytes -= STREAM_BYTES + stream.headerBytes;
    this.#queuedBytes -= stream.queuedBytes;
    this.#streams.delete(stream.id);
    this.#blocked.delete(stream);
    this.#account();
    this.#endIfDone();
  }

  queued(bytes: number): void {
    this.#queuedBytes += bytes;
    this.#account();
    if (this.queuedBytes > this.#options.unreadBytesMax) {
      this.#cut(ERROR.enhanceYourCalm, 'answers are not read');
    }
  }

  #endIfDone(): void {
    if (!this.#goingAway || this.#streams.size > 0 || this.#closed) return;
    this.#output.flush();
    this.#socket.end();
  }

  #flushSoon(): void {
    if (this.#reading) return; // when all that came is read
    if (this.#streams.size === 0) this.#output.flush();
    else this.#output.flushLater();
  }

  /** Tells the peer why, and ends the connection. */
  #cut(code: number, reason: string): void {
    if (this.#closed) return;
    this.#reason = reason;
    this.#sendGoAway(code, reason);
    this.#output.flush();
    this.#closed = true;
    for (const stream of this.#streams.values()) this.#abandon(stream);
    this.#socket.end();
    // The peer reads the reason meanwhile: a socket with unread bytes is reset, and nobody reads what it sent.
    this.#options.clock.setTimer(LINGER_MS, () => this.#socket.destroy());
  }

  #abandon(stream: Http2Stream): void {
    this.#forget(stream);
    stream.receiver?.onClosed();
  }

  #onClose(): void {
    this.#closed = true;
    for (const stream of this.#streams.values()) this.#abandon(stream);
    this.#memory.close();
    this.#options.onClose(this, this.#reason);
  }

  #onChunk(chunk: Buffer): void {
    if (this.#closed) return;
    this.#heardMs = this.#options.clock.nowMs();
    this.#pinged = false;
    this.#reading = true;
    try {
      this.#reader.push(chunk);
      for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) {
        this.#onFrame(frame);
        if (this.#closed) return;
      }
    } catch (error) {
      if (error instanceof ConnectionError) this.#cut(error.code, error.message);
      else if (error instanceof CompressionError) this.#cut(ERROR.compression, error.message);
      else throw error;
    } finally {
      this.#reading = false;
    }
    this.#output.flush();
  }

  #onFrame(frame: Frame): void {
    const { type } = frame;
    const blocks = this.#blocks;
    if (blocks.openSinceMs !== undefined && type !== FRAME.continuation) {
      throw new ConnectionError(ERROR.protocol, 'a header block is not complete');
    }
    if (!this.#settled && type !== FRAME.settings) {
      throw new ConnectionError(ERROR.protocol, 'the first frame is not SETTINGS');
    }
    switch (type) {
      case FRAME.data:
        this.#onData(frame);
        break;
      case FRAME.headers:
      case FRAME.continuation: {
        const isFirst = type === FRAME.headers;
        const block = isFirst ? blocks.begin(frame, this.#heardMs) : blocks.resume(frame);
        if (block !== undefined) this.#onBlock(block);
        break;
      }
      case FRAME.windowUpdate:
        this.#onWindowUpdate(frame);
        break;
      case FRAME.resetStream:
        this.#onReset(frame);
        break;
      case FRAME.settings:
        this.#onSettings(frame);
        break;
      case FRAME.ping:
        this.#onPing(frame);
        break;
      case FRAME.pushPromise:
        throw new ConnectionError(ERROR.protocol, 'a client promises nothing');
      case FRAME.goAway:
        break;
      default:
        this.#nuisance();
    }
  }

  #nuisance(): void {
    if (!this.#nuisances.take(this.#heardMs)) {
      throw new ConnectionError(ERROR.enhanceYourCalm, 'too many resets or idle frames');
    }
  }

  /** The open stream of a frame; undefined = it is closed, and what was sent before its end was known is nobody's fault. */
  #open({ id }: Frame): Http2Stream | undefined {
    if (id % 2 === 0 || id > this.#lastId) {
      throw new ConnectionError(ERROR.protocol, `stream ${id} is not open`);
    }
    return this.#streams.get(id);
  }

  #onData(frame: Frame): void {
    const size = frame.payload.length;
    const stream = this.#open(frame);
    this.#uncredited += size;
    if (this.#uncredited >= CONNECTION_WINDOW / 2) {
      this.#output.head(FRAME.windowUpdate, 0, 0, 4);
      this.#output.uint32(this.#uncredited);
      this.#uncredited = 0;
    }
    const data = unpadded(frame, 0);
    const isLast = (frame.flags & FLAG.endStream) !== 0;
    if (data.length === 0 && !isLast) this.#nuisance();
    if (stream === undefined) return;
    stream.uncredited += size;
    if (stream.remoteEnded || stream.uncredited > STREAM_WINDOW) {
      this.#refuse(stream, stream.remoteEnded ? ERROR.streamClosed : ERROR.flowControl);
      return;
    }
    stream.remoteEnded = isLast;
    if (data.length > 0) stream.receiver?.onData(data);
    if (stream.closed) return;
    if (isLast) stream.receiver?.onEnd();
    else this.sendCredit(stream);
  }

  #onBlock({ id, endStream, headers, bytes }: HeaderBlock): void {
    const known = this.#streams.get(id);
    if (known !== undefined) this.#onTrailers(known, endStream);
    else if (id <= this.#lastId) this.#nuisance(); // of a stream that is closed
    if (id <= this.#lastId) return;
    this.#lastId = id;
    const window = { remoteEnded: endStream, sendWindow: this.#peerStreamWindow };
    const start = { id, headers, headerBytes: bytes, ...window };
    const stream = new Http2Stream(this, start);
    this.#streams.set(id, stream);
    this.#updates.moved();
    this.holds(STREAM_BYTES + bytes);
    if (this.#closed) return;
    if (this.#goingAway || this.#streams.size > this.#options.streamsMax) {
      this.#refuse(stream, ERROR.refusedStream);
      return;
    }
    this.#options.onStream(stream, this);
    if (endStream && !stream.closed) stream.receiver?.onEnd();
  }

  #onTrailers(stream: Http2Stream, endStream: boolean): void {
    if (!endStream || stream.remoteEnded) {
      this.#refuse(stream, ERROR.protocol);
      return;
    }
    stream.remoteEnded = true;
    stream.receiver?.onEnd();
  }

  /** Resets a stream on which the peer did what it must not. */
  #refuse(stream: Http2Stream, code: number): void {
    this.#nuisance();
    this.sendReset(stream, code);
    stream.receiver?.onClosed();
  }

  #onReset(frame: Frame): void {
    expectBytes(frame, 4);
    const stream = this.#open(frame);
    if (stream === undefined) return;
    this.#nuisance();
    this.#abandon(stream);
  }

  #onWindowUpdate(frame: Frame): void {
    expectBytes(frame, 4);
    if (!this.#updates.received()) this.#nuisance();
    const increment = frame.payload.readUInt32BE(0) & WINDOW_MAX;
    if (frame.id === 0) {
      this.#sendWindow += increment;
      if (increment === 0 || this.#sendWindow > WINDOW_MAX) {
        throw new ConnectionError(ERROR.flowControl, `a window of ${this.#sendWindow}`);
      }
      this.#onWindow();
      return;
    }
    const stream = this.#open(frame);
    if (stream === undefined) return;
    stream.sendWindow += increment;
    if (increment === 0) this.#refuse(stream, ERROR.protocol);
    else if (stream.sendWindow > WINDOW_MAX) this.#refuse(stream, ERROR.flowControl);
    else if (this.#blocked.has(stream)) this.#goOn(stream);
  }

  /** More may be sent: every stream that waits gets its part. */
  #onWindow(): void {
    let left = this.#blocked.size; // one that still waits is put behind the others, and not looked at again
    for (const stream of this.#blocked) {
      if (left === 0 || this.#sendWindow <= 0 || this.#socket.writableNeedDrain) return;
      left -= 1;
      // Behind the others for the next time.
      this.#blocked.delete(stream);
      this.#goOn(stream);
    }
  }

  #goOn(stream: Http2Stream): void {
    this.sendQueued(stream);
    if (stream.queuedBytes === 0 && !stream.closed) stream.receiver?.onDrained();
  }

  #onSettings(frame: Frame): void {
    const settings = settingsIn(frame);
    if (settings === undefined) return; // ours are acknowledged
    if (this.#settled) this.#nuisance();
    this.#settled = true;
    for (const [setting, value] of settings) {
      if (setting === SETTING.headerTableSize) this.#encoder.setTableBytes(value);
      else if (setting === SETTING.initialWindowSize) this.#onStreamWindow(value);
    }
    this.#output.head(FRAME.settings, FLAG.ack, 0, 0);
  }

  #onStreamWindow(value: number): void {
    const change = value - this.#peerStreamWindow;
    this.#peerStreamWindow = value;
    for (const stream of this.#streams.values()) {
      stream.sendWindow += change;
      if (stream.sendWindow > WINDOW_MAX) {
        throw new ConnectionError(ERROR.flowControl, `a window of ${stream.sendWindow}`);
      }
    }
    this.#onWindow();
  }

  #onPing(frame: Frame): void {
    expectBytes(frame, 8);
    if (frame.id !== 0) throw new ConnectionError(ERROR.protocol, 'a ping of a stream');
    if ((frame.flags & FLAG.ack) !== 0) return;
    if (!this.#pings.received(this.#heardMs)) {
      throw new ConnectionError(ERROR.enhanceYourCalm, 'too_many_pings');
    }
    this.#output.head(FRAME.ping, FLAG.ack, 0, 8);
    this.#output.add(frame.payload);
  }
}
