import { type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { type FieldPlan, type Fields, KIND, type MessagePlan, planOf } from './message-plan.ts';

const FIRST_BYTES = 16_384;
/** Kept between messages; what a larger one needs is given back. */
const KEPT_BYTES = 262_144;
const INT32_LIMIT = 2 ** 31;
/** Large numbers whose bytes are kept: ids of members and clusters are in every header. */
const KNOWN_MAX = 64;

/** A message that the generated code has to encode. */
class Unusual extends Error {
  override readonly name = 'Unusual';
}

const UNUSUAL = new Unusual();

/**
 * Makes the function that encodes a message behind `prefixBytes` bytes of room: the same bytes as the generated code's, some five times as fast.
 *
 * @param shared - messages of these types are the same objects in many answers: they are encoded once.
 * Errors: those of toBinary.
 */
export function messageEncoder(
  descriptor: DescMessage,
  prefixBytes: number,
  shared: readonly DescMessage[],
): (message: Message) => Buffer {
  const plan = planOf(descriptor);
  const memos = new Map(shared.map((one) => [planOf(one), new WeakMap<object, Uint8Array>()]));
  const writer = new Writer(memos);
  return (message) => {
    try {
      return writer.write(plan, message, prefixBytes);
    } catch (error) {
      if (error !== UNUSUAL) throw error;
      const body = toBinary(descriptor, message);
      const bytes = Buffer.allocUnsafe(prefixBytes + body.length);
      bytes.set(body, prefixBytes);
      return bytes;
    }
  };
}

type Memos = ReadonlyMap<MessagePlan, WeakMap<object, Uint8Array>>;

/** Writes from the end to the start: the length of what is inside is known when its turn comes. */
class Writer {
  readonly #memos: Memos;
  readonly #known = new Map<bigint, Uint8Array>();
  #bytes: Buffer = Buffer.alloc(0);
  /** Where what is written starts. */
  #at = 0;

  constructor(memos: Memos) {
    this.#memos = memos;
  }

  write(plan: MessagePlan, message: Message, prefixBytes: number): Buffer {
    if (this.#bytes.length === 0) this.#bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
    this.#at = this.#bytes.length;
    this.#message(plan, message);
    const length = this.#bytes.length - this.#at;
    const out = Buffer.allocUnsafe(prefixBytes + length);
    this.#bytes.copy(out, prefixBytes, this.#at);
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.alloc(0);
    return out;
  }

  #message({ backwards }: MessagePlan, message: Message): void {
    if (backwards === undefined || message.$unknown !== undefined) throw UNUSUAL;
    const fields: Message & Fields = message;
    for (const field of backwards) {
      const { oneof, name } = field;
      if (oneof !== undefined) {
        const { case: chosen, value } = fields[oneof] as { case?: string; value?: unknown };
        if (chosen === name) this.#value(field, value);
      } else if (field.isList) {
        const list = fields[name] as readonly unknown[];
        for (let i = list.length - 1; i >= 0; i -= 1) this.#value(field, list[i]);
      } else if (!isZero(fields[name])) {
        this.#value(field, fields[name]);
      }
    }
  }

  #value({ kind, tag, inner }: FieldPlan, value: unknown): void {
    switch (kind) {
      case KIND.int64:
      case KIND.uint64:
        this.#bigint(value as bigint);
        break;
      case KIND.int32:
        this.#int32(value as number);
        break;
      case KIND.bool:
        this.#varint(value === true ? 1 : 0);
        break;
      case KIND.bytes:
        this.#copy(value as Uint8Array);
        this.#varint((value as Uint8Array).length);
        break;
      case KIND.string: {
        const bytes = Buffer.from(value as string);
        this.#copy(bytes);
        this.#varint(bytes.length);
        break;
      }
      case KIND.message:
        if (inner === undefined) throw UNUSUAL;
        this.#inner(inner(), value as Message);
        break;
    }
    this.#varint(tag);
  }

  #inner(plan: MessagePlan, message: Message): void {
    const memo = this.#memos.get(plan);
    const known = memo?.get(message);
    if (known !== undefined) {
      this.#copy(known);
      return;
    }
    const end = this.#bytes.length - this.#at;
    this.#message(plan, message);
    this.#varint(this.#bytes.length - this.#at - end);
    if (memo === undefined) return;
    memo.set(message, Uint8Array.from(this.#bytes.subarray(this.#at, this.#bytes.length - end)));
  }

  #int32(value: number): void {
    if (value < 0 || value >= INT32_LIMIT) throw UNUSUAL;
    this.#varint(value);
  }

  #bigint(value: bigint): void {
    if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.#varint(Number(value));
      return;
    }
    let bytes = this.#known.get(value);
    if (bytes === undefined) {
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      bytes = largeVarint(value);
      this.#known.set(value, bytes);
    }
    this.#copy(bytes);
  }

  /** Of an integer from 0 to 2^53 - 1. */
  #varint(value: number): void {
    if (value < 128) {
      this.#reserve(1);
      this.#bytes[this.#at] = value;
      return;
    }
    let length = 1;
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length += 1;
    this.#reserve(length);
    let at = this.#at;
    let rest = value;
    for (; rest >= INT32_LIMIT; at += 1) {
      this.#bytes[at] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    for (; rest >= 128; at += 1) {
      this.#bytes[at] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[at] = rest;
  }

  #copy(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
  }

  /** Makes room for so many bytes before what is written, and moves there. */
  #reserve(length: number): void {
    if (length > this.#at) {
      const written = this.#bytes.length - this.#at;
      const larger = Buffer.allocUnsafeSlow(2 * (this.#bytes.length + length));
      this.#bytes.copy(larger, larger.length - written, this.#at);
      this.#at = larger.length - written;
      this.#bytes = larger;
    }
    this.#at -= length;
  }
}

/** What a field without presence has when it is left out. */
function isZero(value: unknown): boolean {
  if (value === undefined || value === 0n || value === 0 || value === false || value === '') {
    return true;
  }
  return value instanceof Uint8Array && value.length === 0;
}

function largeVarint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
