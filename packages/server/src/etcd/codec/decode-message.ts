import { type DescMessage, fromBinary, type Message } from '@bufbuild/protobuf';
import { type FieldPlan, type Fields, KIND, type MessagePlan, planOf } from './message-plan.ts';

/** Deeper ones are left to the generated code, which has a bound of its own. */
const DEPTH_MAX = 32;
/** As many bits as a double counts exactly, in bytes of a varint. */
const EXACT_BYTES = 7;
const EXACT_BITS = 49n;
const INT32_MAX = 0x7fff_ffff;

/** Not what a client's library sends, or not what is read here. */
class Unusual extends Error {
  override readonly name = 'Unusual';
}

const UNUSUAL = new Unusual();

/**
 * Makes the function that decodes a message: the fields of a proto3 message as client libraries encode them, some five times as fast as
 * the generated code. Everything else (unknown fields, wire types that do not fit, fields that come twice and have to be merged,
 * lengths beyond the end, text outside of ASCII, …) is given to the generated code, whose verdict counts: so the two cannot differ but in
 * what both understand, and a test compares that.
 *
 * Errors: those of fromBinary.
 */
export function messageDecoder(descriptor: DescMessage): (bytes: Uint8Array) => Message {
  const plan = planOf(descriptor);
  const reader = new Reader();
  return (bytes) => {
    try {
      return reader.read(plan, bytes);
    } catch (error) {
      if (error !== UNUSUAL) throw error;
      return fromBinary(descriptor, bytes);
    }
  };
}

class Reader {
  #bytes: Uint8Array = new Uint8Array();
  #at = 0;

  read(plan: MessagePlan, bytes: Uint8Array): Message {
    this.#bytes = bytes;
    this.#at = 0;
    return this.#message(plan, bytes.length, 0);
  }

  #message({ empty, byTag }: MessagePlan, end: number, depth: number): Message {
    if (depth > DEPTH_MAX) throw UNUSUAL;
    const message: Message & Fields = { ...empty };
    while (this.#at < end) {
      const field = byTag[this.#varint()];
      if (field === undefined) throw UNUSUAL;
      this.#set(message, field, this.#value(field, end, depth), empty);
    }
    if (this.#at !== end) throw UNUSUAL;
    return message;
  }

  #set(message: Fields, field: FieldPlan, value: unknown, empty: Readonly<Fields>): void {
    const { name, oneof } = field;
    if (field.isList) {
      const list = message[name];
      // The empty one is everybody's.
      if (list === empty[name]) message[name] = [value];
      else (list as unknown[]).push(value);
    } else if (oneof !== undefined) {
      if (message[oneof] !== empty[oneof]) throw UNUSUAL;
      message[oneof] = { case: name, value };
    } else {
      if (field.kind === KIND.message && message[name] !== undefined) throw UNUSUAL;
      message[name] = value;
    }
  }

  #value({ kind, inner }: FieldPlan, end: number, depth: number): unknown {
    switch (kind) {
      case KIND.int64:
      case KIND.uint64:
        return this.#varint64();
      case KIND.int32: {
        const value = this.#varint();
        if (value > INT32_MAX) throw UNUSUAL;
        return value;
      }
      case KIND.bool:
        return this.#varint() !== 0;
      case KIND.bytes:
        return this.#slice(end);
      case KIND.string:
        return ascii(this.#slice(end));
      case KIND.message: {
        const length = this.#length(end);
        if (inner === undefined) throw UNUSUAL;
        return this.#message(inner(), this.#at + length, depth + 1);
      }
    }
  }

  #length(end: number): number {
    const length = this.#varint();
    if (length > end - this.#at) throw UNUSUAL;
    return length;
  }

  #slice(end: number): Uint8Array {
    const length = this.#length(end);
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  #varint(): number {
    let value = 0;
    for (let i = 0, scale = 1; i < EXACT_BYTES; i += 1, scale *= 128) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw UNUSUAL;
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw UNUSUAL;
  }

  /** Below 2^63: negative ones are rare. */
  #varint64(): bigint {
    const bytes = this.#bytes;
    const start = this.#at;
    let value = 0;
    for (let i = 0, scale = 1; i < EXACT_BYTES; i += 1, scale *= 128) {
      const byte = bytes[start + i];
      if (byte === undefined) throw UNUSUAL;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        this.#at = start + i + 1;
        return BigInt(value);
      }
    }
    const eighth = bytes[start + EXACT_BYTES];
    if (eighth === undefined) throw UNUSUAL;
    const ninth = eighth < 0x80 ? 0 : bytes[start + EXACT_BYTES + 1];
    if (ninth === undefined || ninth >= 0x80) throw UNUSUAL;
    this.#at = start + EXACT_BYTES + (eighth < 0x80 ? 1 : 2);
    return BigInt(value) + (BigInt((eighth & 0x7f) + ninth * 128) << EXACT_BITS);
  }
}

function ascii(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    if (byte >= 0x80) throw UNUSUAL;
    text += String.fromCharCode(byte);
  }
  return text;
}
