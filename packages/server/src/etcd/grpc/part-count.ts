import type { DescMessage } from '@bufbuild/protobuf';

/** Messages inside of one request, at every depth: each costs some microseconds to decode, and two bytes to send. */
export const PARTS_MAX = 65_536;

/** Of a tag and a length: a message has no less. */
const PART_BYTES_MIN = 2;

const WIRE = { varint: 0, bits64: 1, lengthDelimited: 2, bits32: 5 } as const;

type Inner = ReadonlyMap<number, DescMessage>;
const innerByMessage = new Map<DescMessage, Inner>();

/** The fields of a message that are messages themselves, by number. */
function innerOf(message: DescMessage): Inner {
  const known = innerByMessage.get(message);
  if (known !== undefined) return known;
  const inner = new Map<number, DescMessage>();
  for (const field of message.fields) {
    if (field.message !== undefined) inner.set(field.number, field.message);
  }
  innerByMessage.set(message, inner);
  return inner;
}

class Bytes {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.at >= this.#bytes.length;
  }

  /** Its low bits as far as a double has room: whatever is longer lies behind the end anyway. */
  varint(): number {
    let value = 0;
    for (let scale = 1; !this.ended; scale *= 128) {
      const byte = this.#bytes[this.at] ?? 0;
      this.at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value;
  }

  /** Past a value that is of no length of its own. */
  skip(wireType: number): void {
    if (wireType === WIRE.varint) this.varint();
    else if (wireType === WIRE.bits64) this.at += 8;
    else if (wireType === WIRE.bits32) this.at += 4;
  }
}

/**
 * Whether a request holds more than {@link PARTS_MAX} messages. What is not well formed is left to the decoder, which says so. Groups
 * are read as if their fields stood without them.
 */
export function hasTooManyParts(message: DescMessage, body: Uint8Array): boolean {
  if (body.length <= PARTS_MAX * PART_BYTES_MIN || innerOf(message).size === 0) return false;
  const bytes = new Bytes(body);
  const open: { readonly inner: Inner; readonly end: number }[] = [];
  let inner = innerOf(message);
  let end = body.length;
  let parts = 0;
  while (!bytes.ended && parts <= PARTS_MAX) {
    const tag = bytes.varint();
    if (tag % 8 === WIRE.lengthDelimited) {
      const length = bytes.varint();
      const part = inner.get(Math.floor(tag / 8));
      if (part === undefined) {
        bytes.at += length;
      } else {
        parts += 1;
        open.push({ inner, end });
        inner = innerOf(part);
        end = Math.min(end, bytes.at + length);
      }
    } else {
      bytes.skip(tag % 8);
    }
    while (bytes.at >= end && open.length > 0) ({ inner, end } = open.pop() ?? { inner, end });
  }
  return parts > PARTS_MAX;
}
