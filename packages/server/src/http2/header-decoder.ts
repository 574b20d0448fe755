import { decodeHuffman } from './huffman.ts';
import { STATIC_TABLE } from './static-table.ts';

/** What HTTP/2 starts with and this server does not change. */
const TABLE_BYTES_MAX = 4096;
/** An entry counts so much more than its text. RFC 7541 §4.1. */
const ENTRY_BYTES = 32;
const NUMBER_MAX = 2 ** 28;
/** Blocks of one connection whose lists are kept, and their bytes: of indexes alone, as the calls of a client that are alike have them. */
const KNOWN_MAX = 16;
const KNOWN_BYTES_MAX = 32;

/** A header block that cannot be decoded; the connection cannot go on, as its table is no longer the peer's. */
export class CompressionError extends Error {
  override readonly name = 'CompressionError';
}

/** Headers in the order they came; names and values alternate. */
export type HeaderList = readonly string[];

interface Entry {
  readonly name: string;
  readonly value: string;
}

/** Decodes the header blocks of one connection (HPACK, RFC 7541). */
export class HeaderDecoder {
  readonly #listBytesMax: number;
  /** Oldest first. */
  #entries: Entry[] = [];
  #tableBytes = 0;
  #tableBytesMax = TABLE_BYTES_MAX;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #list: string[] = [];
  #listBytes = 0;
  /** The block changed the table. */
  #isChanged = false;
  /** Blocks that leave the table as it is, as text → their lists, for as long as it stays so. */
  readonly #known = new Map<string, HeaderList>();

  /** @param listBytesMax - of one decoded list, as HTTP/2 counts. */
  constructor(listBytesMax: number) {
    this.#listBytesMax = listBytesMax;
  }

  /** What the last list takes beside what is kept anyway; names, values and 32 bytes for each. */
  get listBytes(): number {
    return this.#listBytes;
  }

  /** Undefined: the list is longer than the maximum. The same block may yield the same list. Errors: CompressionError. */
  decode(block: Buffer): HeaderList | undefined {
    if (block.length > KNOWN_BYTES_MAX) return this.#decode(block);
    const text = block.toString('latin1');
    const known = this.#known.get(text);
    if (known !== undefined) {
      this.#listBytes = 0;
      return known;
    }
    this.#isChanged = false;
    const list = this.#decode(block);
    if (list !== undefined && !this.#isChanged && this.#known.size < KNOWN_MAX) {
      this.#known.set(text, list);
    }
    return list;
  }

  #decode(block: Buffer): HeaderList | undefined {
    this.#block = block;
    this.#at = 0;
    this.#list = [];
    this.#listBytes = 0;
    let isFirst = true;
    while (this.#at < block.length) {
      const byte = block[this.#at] ?? 0;
      if (byte >= 0x80) this.#add(this.#entry(this.#number(0x7f)));
      else if (byte >= 0x40) this.#insert(this.#literal(0x3f));
      else if (byte < 0x20) this.#add(this.#literal(0x0f));
      else if (isFirst) this.#resize(this.#number(0x1f));
      else throw new CompressionError('a table size behind a header');
      isFirst &&= byte >= 0x20 && byte < 0x40;
    }
    return this.#listBytes > this.#listBytesMax ? undefined : this.#list;
  }

  #add({ name, value }: Entry): void {
    this.#listBytes += name.length + value.length + ENTRY_BYTES;
    // The rest of the block is still decoded, for the table's sake.
    if (this.#listBytes <= this.#listBytesMax) this.#list.push(name, value);
  }

  #entry(index: number): Entry {
    const fixed = STATIC_TABLE[index - 1];
    if (fixed !== undefined) return { name: fixed[0], value: fixed[1] };
    const entry = this.#entries[this.#entries.length - (index - STATIC_TABLE.length)];
    if (entry === undefined) throw new CompressionError(`no header has index ${index}`);
    return entry;
  }

  #literal(mask: number): Entry {
    const index = this.#number(mask);
    const name = index === 0 ? this.#text() : this.#entry(index).name;
    return { name, value: this.#text() };
  }

  #insert(entry: Entry): void {
    this.#changed();
    this.#add(entry);
    this.#entries.push(entry);
    this.#tableBytes += entry.name.length + entry.value.length + ENTRY_BYTES;
    this.#evict();
  }

  #resize(bytes: number): void {
    if (bytes > TABLE_BYTES_MAX) throw new CompressionError(`a table of ${bytes} bytes`);
    this.#changed();
    this.#tableBytesMax = bytes;
    this.#evict();
  }

  #changed(): void {
    this.#isChanged = true;
    this.#known.clear();
  }

  #evict(): void {
    while (this.#tableBytes > this.#tableBytesMax) {
      const oldest = this.#entries.shift();
      if (oldest === undefined) return;
      this.#tableBytes -= oldest.name.length + oldest.value.length + ENTRY_BYTES;
    }
  }

  #byte(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw new CompressionError('cut short');
    this.#at += 1;
    return byte;
  }

  /** An integer whose first bits stand under `mask`. RFC 7541 §5.1. */
  #number(mask: number): number {
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (value > NUMBER_MAX || factor > NUMBER_MAX) throw new CompressionError('a huge number');
      if (byte < 0x80) return value;
    }
  }

  #text(): string {
    const isHuffman = (this.#block[this.#at] ?? 0) >= 0x80;
    const length = this.#number(0x7f);
    const end = this.#at + length;
    if (end > this.#block.length) throw new CompressionError('cut short');
    const start = this.#at;
    this.#at = end;
    if (!isHuffman) return this.#block.toString('latin1', start, end);
    const text = decodeHuffman(this.#block.subarray(start, end));
    if (text === undefined) throw new CompressionError('no Huffman code');
    return text;
  }
}
