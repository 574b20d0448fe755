import {
  assert,
  compareBytes,
  concatBytes,
  crc32c,
  EMPTY_BYTES,
  equalBytes,
  err,
  KvError,
  ok,
  type Result,
} from '@kvorum/base';
import {
  decodeSnapshotHeader,
  decodeSnapshotTrailer,
  encodeSnapshotHeader,
  encodeSnapshotTrailer,
  type SnapshotHeader,
  type SnapshotTrailer,
} from './snapshot-header.ts';

/**
 * A copy of one shard as a file or a stream, big endian. Frozen: copies are kept for years; a change takes a new version.
 *
 * ```
 * "KVSN" u8 version (1)
 * frames:  u8 kind   u32 payload length   payload   u32 CRC-32C of kind, length and payload
 *   1 header    JSON (snapshot-header.ts); the first frame
 *   2 rows      u32 chunk number from 0, then rows: u32 key length, key, u32 value length, value; keys ascend over the whole file
 *   3 trailer   JSON; the last frame: counts, and SHA-256 of every byte before this frame
 * ```
 */
export const SNAPSHOT_FILE_VERSION = 1;
/** Largest frame that is read: far above the largest row. */
export const SNAPSHOT_FRAME_BYTES_MAX: number = 64 * 1024 * 1024;

const MAGIC = Uint8Array.from([0x4b, 0x56, 0x53, 0x4e, SNAPSHOT_FILE_VERSION]);
const FRAME_HEAD_BYTES = 5;
const CHECKSUM_BYTES = 4;
const KIND_HEADER = 1;
const KIND_ROWS = 2;
const KIND_TRAILER = 3;

export type SnapshotRow = readonly [key: Uint8Array, value: Uint8Array];

/** SHA-256 as it is fed; Node's `createHash('sha256')` is one. */
export interface Sha256 {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array;
}

function frame(kind: number, length: number, fill: (payload: Uint8Array) => void): Uint8Array {
  assert(length <= SNAPSHOT_FRAME_BYTES_MAX, `a snapshot frame of ${length} bytes`);
  const out = new Uint8Array(FRAME_HEAD_BYTES + length + CHECKSUM_BYTES);
  const view = new DataView(out.buffer);
  out[0] = kind;
  view.setUint32(1, length);
  const end = FRAME_HEAD_BYTES + length;
  fill(out.subarray(FRAME_HEAD_BYTES, end));
  view.setUint32(end, crc32c(out.subarray(0, end)));
  return out;
}

const whole = (kind: number, payload: Uint8Array): Uint8Array =>
  frame(kind, payload.length, (out) => out.set(payload));

/** Makes the pieces of a copy in order: `begin`, `rows` as often as needed, `end`. */
export class SnapshotEncoder {
  readonly #hash: Sha256;
  #lastKey: Uint8Array = EMPTY_BYTES;
  #chunkCount = 0;
  #rowCount = 0;
  #rowBytes = 0;

  constructor(hash: Sha256) {
    this.#hash = hash;
  }

  begin(header: SnapshotHeader): Uint8Array {
    return this.#hashed(concatBytes(MAGIC, whole(KIND_HEADER, encodeSnapshotHeader(header))));
  }

  /** One chunk; nothing for no rows. Keys ascend within it and over the chunks. */
  rows(rows: readonly SnapshotRow[]): Uint8Array {
    if (rows.length === 0) return EMPTY_BYTES;
    let length = 4;
    for (const [key, value] of rows) {
      assert(compareBytes(key, this.#lastKey) > 0, 'rows of a snapshot ascend');
      this.#lastKey = key;
      length += 8 + key.length + value.length;
      this.#rowBytes += key.length + value.length;
    }
    this.#rowCount += rows.length;
    return this.#hashed(frame(KIND_ROWS, length, (out) => this.#fill(out, rows)));
  }

  #fill(out: Uint8Array, rows: readonly SnapshotRow[]): void {
    const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
    view.setUint32(0, this.#chunkCount);
    this.#chunkCount += 1;
    let at = 4;
    for (const bytes of rows.flat()) {
      view.setUint32(at, bytes.length);
      out.set(bytes, at + 4);
      at += 4 + bytes.length;
    }
  }

  /** @param stateHash - 16 hex digits, or '' when it was not computed. */
  end(stateHash: string): { readonly bytes: Uint8Array; readonly trailer: SnapshotTrailer } {
    const trailer = {
      chunkCount: this.#chunkCount,
      rowCount: this.#rowCount,
      rowBytes: this.#rowBytes,
      sha256: this.#hash.digest(),
      stateHash,
    };
    return { bytes: whole(KIND_TRAILER, encodeSnapshotTrailer(trailer)), trailer };
  }

  #hashed(bytes: Uint8Array): Uint8Array {
    this.#hash.update(bytes);
    return bytes;
  }
}

export type SnapshotPart =
  | { readonly kind: 'header'; readonly header: SnapshotHeader }
  | { readonly kind: 'rows'; readonly rows: readonly SnapshotRow[] }
  | { readonly kind: 'trailer'; readonly trailer: SnapshotTrailer };

/** Reads a copy from pieces of any size; holds no more than one frame. Refuses whatever is not exactly as it was written. */
export class SnapshotDecoder {
  readonly #hash: Sha256;
  #pending: Uint8Array = EMPTY_BYTES;
  /** Pieces behind #pending, put together only when a whole frame is there. */
  #pieces: Uint8Array[] = [];
  #length = 0;
  #needed = 0;
  #started = false;
  /** Position in the file of the first byte of #pending. */
  #at = 0;
  #header: SnapshotHeader | undefined;
  #trailer: SnapshotTrailer | undefined;
  #lastKey: Uint8Array = EMPTY_BYTES;
  #chunkCount = 0;
  #rowCount = 0;
  #rowBytes = 0;

  constructor(hash: Sha256) {
    this.#hash = hash;
  }

  /** Errors: KV_CORRUPT, with what is wrong and at which byte. Rows are views of what was pushed or of a copy. */
  push(bytes: Uint8Array): Result<readonly SnapshotPart[], KvError> {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    if (this.#length < this.#needed) return ok([]);
    this.#pending = concatBytes(this.#pending, ...this.#pieces);
    this.#pieces = [];
    const parts: SnapshotPart[] = [];
    try {
      this.#start();
      for (let part = this.#next(); part !== undefined; part = this.#next()) parts.push(part);
    } catch (error) {
      if (error instanceof KvError) return err(error);
      throw error;
    }
    this.#length = this.#pending.length;
    return ok(parts);
  }

  /** The stream is over: was that all? Errors: KV_CORRUPT. */
  end(): Result<SnapshotTrailer, KvError> {
    if (this.#trailer !== undefined) return ok(this.#trailer);
    const have = this.#at + this.#length;
    return err(
      new KvError('KV_CORRUPT', `the snapshot ends after ${have} bytes without a trailer`),
    );
  }

  #start(): void {
    if (this.#started || this.#pending.length < MAGIC.length) return;
    const found = this.#pending.subarray(0, MAGIC.length);
    if (!equalBytes(found.subarray(0, 4), MAGIC.subarray(0, 4)))
      this.#refuse('this is no snapshot');
    const version = found[4];
    if (version !== SNAPSHOT_FILE_VERSION) {
      this.#refuse(`snapshot format ${version}, this build reads ${SNAPSHOT_FILE_VERSION}`);
    }
    this.#started = true;
    this.#consume(MAGIC.length);
  }

  #next(): SnapshotPart | undefined {
    const bytes = this.#pending;
    if (!this.#started || bytes.length === 0) return undefined;
    if (this.#trailer !== undefined) this.#refuse('bytes after the trailer');
    if (bytes.length < FRAME_HEAD_BYTES) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = view.getUint32(1);
    if (length > SNAPSHOT_FRAME_BYTES_MAX) this.#refuse(`a frame of ${length} bytes`);
    const end = FRAME_HEAD_BYTES + length;
    this.#needed = end + CHECKSUM_BYTES;
    if (bytes.length < this.#needed) return undefined;
    this.#needed = 0;
    if (view.getUint32(end) !== crc32c(bytes.subarray(0, end))) {
      this.#refuse('the checksum does not match');
    }
    const part = this.#part(bytes[0], bytes.subarray(FRAME_HEAD_BYTES, end));
    this.#consume(end + CHECKSUM_BYTES);
    return part;
  }

  #part(kind: number | undefined, payload: Uint8Array): SnapshotPart {
    if ((kind === KIND_HEADER) === (this.#header !== undefined)) {
      this.#refuse(kind === KIND_HEADER ? 'a second header' : 'the header is missing');
    }
    switch (kind) {
      case KIND_HEADER: {
        const header = this.#value(decodeSnapshotHeader(payload));
        this.#header = header;
        return { kind: 'header', header };
      }
      case KIND_ROWS:
        return { kind: 'rows', rows: this.#rows(payload) };
      case KIND_TRAILER: {
        const trailer = this.#value(decodeSnapshotTrailer(payload));
        this.#check(trailer);
        this.#trailer = trailer;
        return { kind: 'trailer', trailer };
      }
      default:
        return this.#refuse(`a frame of unknown kind ${kind}`);
    }
  }

  #rows(payload: Uint8Array): readonly SnapshotRow[] {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const take = (at: number): Uint8Array => {
      if (at + 4 > payload.length) this.#refuse('a row is cut off');
      const end = at + 4 + view.getUint32(at);
      if (end > payload.length) this.#refuse('a row is cut off');
      return payload.subarray(at + 4, end);
    };
    if (payload.length < 4 || view.getUint32(0) !== this.#chunkCount) {
      this.#refuse(`chunk ${this.#chunkCount} is missing`);
    }
    this.#chunkCount += 1;
    const rows: SnapshotRow[] = [];
    for (let at = 4; at < payload.length; ) {
      const key = take(at);
      const value = take(at + 4 + key.length);
      if (compareBytes(key, this.#lastKey) <= 0) this.#refuse('rows are out of order');
      this.#lastKey = key;
      rows.push([key, value]);
      this.#rowBytes += key.length + value.length;
      at += 8 + key.length + value.length;
    }
    this.#rowCount += rows.length;
    return rows;
  }

  #check(trailer: SnapshotTrailer): void {
    const { chunkCount, rowCount, rowBytes, sha256 } = trailer;
    if (chunkCount !== this.#chunkCount) {
      this.#refuse(`${this.#chunkCount} chunks, the trailer says ${chunkCount}`);
    }
    if (rowCount !== this.#rowCount || rowBytes !== this.#rowBytes) {
      this.#refuse(`${this.#rowCount} rows, the trailer says ${rowCount}`);
    }
    if (!equalBytes(sha256, this.#hash.digest())) this.#refuse('SHA-256 does not match');
  }

  #consume(count: number): void {
    // The trailer is the one frame that the digest does not cover: it carries it.
    if (this.#trailer === undefined) this.#hash.update(this.#pending.subarray(0, count));
    this.#pending = this.#pending.subarray(count);
    this.#at += count;
  }

  #value<T>(result: Result<T, KvError>): T {
    if (result.ok) return result.value;
    throw result.error;
  }

  #refuse(what: string): never {
    throw new KvError('KV_CORRUPT', `damaged snapshot at byte ${this.#at}: ${what}`);
  }
}
