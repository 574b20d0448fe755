import { STATIC_TABLE } from './static-table.ts';

/** What a table takes that holds the entries made here. */
const TABLE_BYTES_MIN = 256;
const TABLE_BYTES_DEFAULT = 4096;
const RESIZE = 0x20;
const RESIZE_BITS = 5;
const FIRST_DYNAMIC = STATIC_TABLE.length + 1;
const INDEXED = 0x80;
const INDEXED_LATER = 0x40;
const NEVER_INDEXED_BITS = 4;

type Header = readonly [name: string, value: string];

function pushNumber(bytes: number[], first: number, bits: number, value: number): void {
  const max = 2 ** bits - 1;
  if (value < max) {
    bytes.push(first + value);
    return;
  }
  bytes.push(first + max);
  let rest = value - max;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
}

function pushText(bytes: number[], text: string): void {
  pushNumber(bytes, 0, 7, text.length);
  bytes.push(...Buffer.from(text, 'latin1'));
}

const isSame = ([name, value]: Header, [otherName, otherValue]: Header): boolean =>
  name === otherName && value === otherValue;

/**
 * Encodes the header blocks of one connection (HPACK, RFC 7541). What every answer has goes into the peer's table and takes one byte
 * from then on; the rest is written out.
 */
export class HeaderEncoder {
  readonly #common: readonly Header[];
  /** Of the common ones, those in the peer's table, oldest first. */
  #inserted: Header[] = [];
  /** Only ever gets smaller: what the peer allows beyond it is not needed. */
  #tableBytes = TABLE_BYTES_DEFAULT;
  #tellResize = false;
  /** A list that has only common headers → its block, once they are all in the table. */
  readonly #blocks = new Map<readonly Header[], Buffer>();

  /** @param common - a handful of short ones. */
  constructor(common: readonly Header[]) {
    this.#common = common;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setTableBytes(bytes: number): void {
    if (bytes >= this.#tableBytes) return;
    this.#tableBytes = bytes < TABLE_BYTES_MIN ? 0 : bytes;
    // The next block has to say so, even if every entry has room. RFC 9113 §4.3.1.
    this.#tellResize = true;
    if (this.#tableBytes > 0) return;
    this.#inserted = [];
    this.#blocks.clear();
  }

  /** Lists that come again and again are to be the same object. */
  encode(headers: readonly Header[]): Buffer {
    const known = this.#blocks.get(headers);
    if (known !== undefined && !this.#tellResize) return known;
    const bytes: number[] = [];
    if (this.#tellResize) pushNumber(bytes, RESIZE, RESIZE_BITS, this.#tableBytes);
    this.#tellResize = false;
    for (const header of headers) this.#push(bytes, header);
    const block = Buffer.from(bytes);
    // One byte a header: nothing was inserted by it, and no index will change.
    const isSettled = this.#inserted.length === this.#common.length;
    if (isSettled && bytes.length === headers.length) this.#blocks.set(headers, block);
    return block;
  }

  #push(bytes: number[], header: Header): void {
    const [name, value] = header;
    const fixed = STATIC_TABLE.findIndex((one) => isSame(one, header));
    if (fixed >= 0) {
      pushNumber(bytes, INDEXED, 7, fixed + 1);
      return;
    }
    const at = this.#inserted.findIndex((one) => isSame(one, header));
    if (at >= 0) {
      pushNumber(bytes, INDEXED, 7, FIRST_DYNAMIC + this.#inserted.length - 1 - at);
      return;
    }
    const nameIndex = STATIC_TABLE.findIndex(([known]) => known === name) + 1;
    const isCommon = this.#tableBytes > 0 && this.#common.some((one) => isSame(one, header));
    if (isCommon) {
      this.#inserted.push(header);
      pushNumber(bytes, INDEXED_LATER, 6, nameIndex);
    } else {
      pushNumber(bytes, 0, NEVER_INDEXED_BITS, nameIndex);
    }
    if (nameIndex === 0) pushText(bytes, name);
    pushText(bytes, value);
  }
}
