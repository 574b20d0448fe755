/** Types of HTTP/2 frames. Source: RFC 9113 §6. */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

/** Source: RFC 9113 §6.5.2. */
export const SETTING = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

/** Source: RFC 9113 §7. */
export const ERROR = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  enhanceYourCalm: 11,
} as const;

export const FRAME_HEAD_BYTES = 9;
/** Of a frame's payload: what HTTP/2 starts with and this server does not change. */
export const FRAME_BYTES_MAX = 16_384;
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
export const DEFAULT_WINDOW = 65_535;
export const WINDOW_MAX = 0x7fff_ffff;

/** What ends the whole connection. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  /** Of {@link ERROR}. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  /** Stream id; 0 = of the connection. */
  readonly id: number;
  /** Valid until the next frame is asked for. */
  readonly payload: Buffer;
}

/** Cuts a connection's bytes, the preface among them, into frames. */
export class FrameReader {
  #prefaceBytes = 0;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  /** The start of a frame that is not complete. */
  #partial: Buffer | undefined;
  #partialBytes = 0;

  /** Hands over what came next; everything before must have been taken. */
  push(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** The next complete frame. Errors: ConnectionError; nothing further can be read then. */
  next(): Frame | undefined {
    if (this.#prefaceBytes < PREFACE.length && !this.#readPreface()) return undefined;
    if (this.#partial !== undefined) return this.#fromPartial(this.#partial);
    const left = this.#chunk.length - this.#at;
    if (left < FRAME_HEAD_BYTES) return this.#keep();
    const length = payloadBytes(this.#chunk, this.#at);
    if (left < FRAME_HEAD_BYTES + length) return this.#keep();
    const frame = frameAt(this.#chunk, this.#at, length);
    this.#at += FRAME_HEAD_BYTES + length;
    return frame;
  }

  #readPreface(): boolean {
    while (this.#prefaceBytes < PREFACE.length && this.#at < this.#chunk.length) {
      if (this.#chunk[this.#at] !== PREFACE[this.#prefaceBytes]) {
        throw new ConnectionError(ERROR.protocol, 'no HTTP/2 preface');
      }
      this.#at += 1;
      this.#prefaceBytes += 1;
    }
    return this.#prefaceBytes === PREFACE.length;
  }

  #keep(): undefined {
    if (this.#at === this.#chunk.length) return undefined;
    this.#partial = Buffer.allocUnsafe(FRAME_HEAD_BYTES + FRAME_BYTES_MAX);
    this.#partialBytes = 0;
    this.#fill(this.#partial, this.#partial.length);
    return undefined;
  }

  #fill(partial: Buffer, upTo: number): void {
    if (upTo <= this.#partialBytes) return;
    const end = Math.min(this.#chunk.length, this.#at + upTo - this.#partialBytes);
    this.#partialBytes += this.#chunk.copy(partial, this.#partialBytes, this.#at, end);
    this.#at = end;
  }

  #fromPartial(partial: Buffer): Frame | undefined {
    this.#fill(partial, FRAME_HEAD_BYTES);
    if (this.#partialBytes < FRAME_HEAD_BYTES) return undefined;
    const length = payloadBytes(partial, 0);
    this.#fill(partial, FRAME_HEAD_BYTES + length);
    if (this.#partialBytes < FRAME_HEAD_BYTES + length) return undefined;
    this.#partial = undefined;
    return frameAt(partial, 0, length);
  }
}

function payloadBytes(bytes: Buffer, at: number): number {
  const length = bytes.readUIntBE(at, 3);
  if (length > FRAME_BYTES_MAX) throw new ConnectionError(ERROR.frameSize, `${length} bytes`);
  return length;
}

function frameAt(bytes: Buffer, at: number, length: number): Frame {
  const start = at + FRAME_HEAD_BYTES;
  return {
    type: bytes[at + 3] ?? 0,
    flags: bytes[at + 4] ?? 0,
    id: bytes.readUInt32BE(at + 5) & WINDOW_MAX,
    payload: bytes.subarray(start, start + length),
  };
}

/** Errors: ConnectionError unless the payload is that long. */
export function expectBytes({ type, payload }: Frame, bytes: number): void {
  if (payload.length === bytes) return;
  throw new ConnectionError(ERROR.frameSize, `a frame of type ${type}: ${payload.length} bytes`);
}

/** The payload without padding, and without `skip` bytes at its start. Errors: ConnectionError. */
export function unpadded({ flags, payload }: Frame, skip: number): Buffer {
  const isPadded = (flags & FLAG.padded) !== 0;
  const start = (isPadded ? 1 : 0) + skip;
  const end = payload.length - (isPadded ? (payload[0] ?? 0) : 0);
  if (start > end) throw new ConnectionError(ERROR.protocol, 'padding longer than the frame');
  return isPadded || skip > 0 ? payload.subarray(start, end) : payload;
}

/** Largest and smallest value of a setting that has bounds. */
const BOUNDS: ReadonlyMap<number, readonly [min: number, max: number, error: number]> = new Map([
  [SETTING.enablePush, [0, 1, ERROR.protocol]],
  [SETTING.initialWindowSize, [0, WINDOW_MAX, ERROR.flowControl]],
  [SETTING.maxFrameSize, [FRAME_BYTES_MAX, 0xff_ffff, ERROR.protocol]],
]);

/**
 * What SETTINGS says; undefined = it acknowledges. A frame can name the window of streams thousands of times, and each takes a walk over
 * all of them: only the last one is handed out. Errors: ConnectionError.
 */
export function settingsIn(
  frame: Frame,
): readonly (readonly [setting: number, value: number])[] | undefined {
  const { id, flags, payload } = frame;
  if (id !== 0) throw new ConnectionError(ERROR.protocol, 'settings of a stream');
  if ((flags & FLAG.ack) !== 0) {
    expectBytes(frame, 0);
    return undefined;
  }
  if (payload.length % 6 !== 0) throw new ConnectionError(ERROR.frameSize, 'settings cut short');
  const settings: (readonly [number, number])[] = [];
  let streamWindow: number | undefined;
  for (let at = 0; at < payload.length; at += 6) {
    const setting = payload.readUInt16BE(at);
    const value = payload.readUInt32BE(at + 2);
    const [min, max, error] = BOUNDS.get(setting) ?? [0, Number.MAX_SAFE_INTEGER, ERROR.none];
    if (value < min || value > max) {
      throw new ConnectionError(error, `setting ${setting} cannot be ${value}`);
    }
    if (setting === SETTING.initialWindowSize) streamWindow = value;
    else settings.push([setting, value]);
  }
  if (streamWindow !== undefined) settings.push([SETTING.initialWindowSize, streamWindow]);
  return settings;
}
