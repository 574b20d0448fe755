import { assert } from '@kvorum/base';

const TWO_32 = 0x1_0000_0000;

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** An unsigned 64-bit number; not a safe integer when the bytes are damaged. */
export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * TWO_32 + readU32(bytes, at + 4);
}

export function readI64(bytes: Uint8Array, at: number): bigint {
  const high = readU32(bytes, at);
  const low = readU32(bytes, at + 4);
  if (high === 0 && low === 0) return 0n;
  return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low));
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, (value / TWO_32) >>> 0);
  writeU32(bytes, at + 4, value >>> 0);
}

export function writeI64(bytes: Uint8Array, at: number, value: bigint): void {
  if (value === 0n) {
    bytes.fill(0, at, at + 8);
    return;
  }
  writeU32(bytes, at, Number(BigInt.asUintN(32, value >> 32n)));
  writeU32(bytes, at + 4, Number(BigInt.asUintN(32, value)));
}

const CHUNK = 4096;

/**
 * A string with one character per byte: the identity of a byte key in Maps.
 * Sorting by it is sorting by bytes.
 */
export function byteText(bytes: Uint8Array): string {
  // `apply` takes any array-like; its declared type asks for number[].
  if (bytes.length <= CHUNK) return String.fromCharCode.apply(null, asNumbers(bytes));
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += String.fromCharCode.apply(null, asNumbers(bytes.subarray(at, at + CHUNK)));
  }
  return text;
}

function asNumbers(bytes: ArrayLike<number>): number[] {
  return bytes as number[];
}

/** Append-only byte buffer that doubles when it is full. Views of it stay valid: bytes never move. */
export class ByteWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(Math.max(capacity, 64));
  }

  /** Makes room for `count` more bytes and returns where they start; the caller fills them. */
  reserve(count: number): number {
    const at = this.length;
    const needed = at + count;
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
      grown.set(this.bytes.subarray(0, at));
      this.bytes = grown;
    }
    this.length = needed;
    return at;
  }

  /** Forgets everything from `length` on: the undo of a failed command. */
  truncate(length: number): void {
    assert(length <= this.length, 'truncate only shortens');
    this.length = length;
  }

  u8(value: number): void {
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  u32(value: number): void {
    const at = this.reserve(4);
    writeU32(this.bytes, at, value);
  }

  u64(value: number): void {
    const at = this.reserve(8);
    writeU64(this.bytes, at, value);
  }

  i64(value: bigint): void {
    const at = this.reserve(8);
    writeI64(this.bytes, at, value);
  }

  /** Unsigned integer in groups of 7 bits, low first; up to 2^53 - 1. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.u8(rest);
  }

  raw(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** Length as varint, then the bytes. */
  blob(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** A view of what was written. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/**
 * Reads what ByteWriter wrote. A read beyond the end, or a number that is not a safe integer, sets `failed` and yields
 * zeros: callers check once at the end instead of after each field.
 */
export class ByteReader {
  readonly bytes: Uint8Array;
  at: number;
  failed = false;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  private take(count: number): number {
    const at = this.at;
    if (this.failed || count > this.bytes.length - at) {
      this.failed = true;
      return -1;
    }
    this.at = at + count;
    return at;
  }

  u8(): number {
    const at = this.take(1);
    return at < 0 ? 0 : (this.bytes[at] as number);
  }

  u32(): number {
    const at = this.take(4);
    return at < 0 ? 0 : readU32(this.bytes, at);
  }

  u64(): number {
    const at = this.take(8);
    return at < 0 ? 0 : this.safe(readU64(this.bytes, at));
  }

  i64(): bigint {
    const at = this.take(8);
    return at < 0 ? 0n : readI64(this.bytes, at);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i += 1) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return this.safe(value);
      scale *= 0x80;
    }
    this.failed = true;
    return 0;
  }

  /** A view of the next `count` bytes. */
  raw(count: number): Uint8Array {
    const at = this.take(count);
    return at < 0 ? new Uint8Array(0) : this.bytes.subarray(at, at + count);
  }

  blob(): Uint8Array {
    return this.raw(this.varint());
  }

  /** True when everything was read and nothing was amiss. */
  finished(): boolean {
    return !this.failed && this.at === this.bytes.length;
  }

  private safe(value: number): number {
    if (Number.isSafeInteger(value)) return value;
    this.failed = true;
    return 0;
  }
}
