/** The static table entries that a gRPC request uses (RFC 7541, appendix A): name to index. */
const STATIC_NAME: Readonly<Record<string, number>> = {
  ':authority': 1,
  ':path': 4,
  'content-type': 31,
};
/** `:method: POST` and `:scheme: http`, both whole entries of the static table. */
const METHOD_AND_SCHEME = [0x83, 0x86];
const FIRST_DYNAMIC_INDEX = 62;

/**
 * Header blocks of gRPC requests on one connection. Each header is sent in full once and by its index in the
 * dynamic table ever after, so a block is six bytes (as the Go client does it).
 */
export class HpackEncoder {
  readonly #authority: string;
  /** Newest entry first, as the dynamic table numbers them. */
  readonly #table: string[] = [];
  readonly #blocks = new Map<string, Uint8Array>();

  constructor(authority: string) {
    this.#authority = authority;
  }

  /** The block for one call of `path`. Blocks must reach the wire in the order they were asked for. */
  block(path: string): Uint8Array {
    const ready = this.#blocks.get(path);
    if (ready !== undefined) return ready;
    const sizeBefore = this.#table.length;
    const out = [...METHOD_AND_SCHEME];
    this.#header(out, ':path', path);
    this.#header(out, ':authority', this.#authority);
    this.#header(out, 'content-type', 'application/grpc');
    this.#header(out, 'te', 'trailers');
    const block = Uint8Array.from(out);
    // An insertion moves every index: only a block made of indexes alone can be kept, until the next one.
    if (this.#table.length === sizeBefore) this.#blocks.set(path, block);
    else this.#blocks.clear();
    return block;
  }

  #header(out: number[], name: string, value: string): void {
    const entry = `${name}\n${value}`;
    const at = this.#table.indexOf(entry);
    if (at >= 0) {
      out.push(0x80 | (FIRST_DYNAMIC_INDEX + at));
      return;
    }
    const nameIndex = STATIC_NAME[name] ?? 0;
    out.push(0x40 | nameIndex);
    if (nameIndex === 0) pushText(out, name);
    pushText(out, value);
    this.#table.unshift(entry);
  }
}

/** A literal without Huffman coding; every text here is shorter than the 127 bytes one length byte holds. */
function pushText(out: number[], text: string): void {
  const bytes = Buffer.from(text, 'latin1');
  out.push(bytes.length, ...bytes);
}
