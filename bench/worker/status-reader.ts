/** Header fields 1 to 61 are HTTP/2's own (RFC 7541, appendix A); none of them is the status of gRPC. */
const STATIC_ENTRIES = 61;
const TABLE_BYTES_MAX = 4096;
/** Of an entry beside its texts, with room for a name that has an index. */
const ENTRY_BYTES = 64;
/** A Huffman code has at least five bits. */
const HUFFMAN_GROWTH = 8 / 5;
/** `grpc-status` as it is, and in Huffman's code. */
const STATUS_NAMES: readonly string[] = [
  'grpc-status',
  Buffer.from('9acac8b21234da8f', 'hex').toString('latin1'),
];

interface Entry {
  readonly isStatusName: boolean;
  /** Undefined when the field is another one. */
  readonly status: number | undefined;
}

const OTHER: Entry = { isStatusName: false, status: undefined };

/**
 * Finds `grpc-status` in the header blocks of one connection, and reads nothing else: names and values are compared as they came. The
 * table is kept without evictions; a server that fills it cannot be read any more, and the connection ends.
 */
export class StatusReader {
  /** Oldest first. */
  readonly #table: Entry[] = [];
  #tableBytes = 0;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  /** The status that the block carries; undefined when it carries none. Throws on what cannot be read. */
  read(block: Buffer): number | undefined {
    this.#block = block;
    this.#at = 0;
    let status: number | undefined;
    while (this.#at < block.length) {
      const byte = block[this.#at] ?? 0;
      let entry = OTHER;
      if (byte >= 0x80) entry = this.#entry(this.#number(0x7f));
      else if (byte >= 0x40) entry = this.#literal(0x3f, true);
      else if (byte >= 0x20) this.#number(0x1f);
      else entry = this.#literal(0x0f, false);
      status = entry.status ?? status;
    }
    return status;
  }

  #entry(index: number): Entry {
    if (index <= STATIC_ENTRIES) return OTHER;
    const entry = this.#table[this.#table.length - (index - STATIC_ENTRIES)];
    if (entry === undefined) throw new Error(`no header has index ${index}`);
    return entry;
  }

  #literal(mask: number, isKept: boolean): Entry {
    const from = this.#at;
    const index = this.#number(mask);
    const isStatusName =
      index === 0 ? STATUS_NAMES.includes(this.#text()) : this.#entry(index).isStatusName;
    const value = this.#text();
    const entry = isStatusName ? { isStatusName, status: Number(value) } : OTHER;
    if (!isKept) return entry;
    this.#table.push(entry);
    this.#tableBytes += (this.#at - from) * HUFFMAN_GROWTH + ENTRY_BYTES;
    if (this.#tableBytes > TABLE_BYTES_MAX) throw new Error('the table of headers is full');
    return entry;
  }

  /** As it came: a status has two digits at most, which are not shorter in Huffman's code. */
  #text(): string {
    const length = this.#number(0x7f);
    const from = this.#at;
    this.#at += length;
    return this.#block.toString('latin1', from, this.#at);
  }

  #number(mask: number): number {
    let value = (this.#block[this.#at] ?? 0) & mask;
    this.#at += 1;
    if (value < mask) return value;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#block[this.#at] ?? 0;
      this.#at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  }
}
