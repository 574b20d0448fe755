import { GrpcError } from '../grpc-error.ts';
import { ByteBuffer } from './byte-buffer.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN: readonly number[] = [0x7b, 0x5b];
const CLOSE: readonly number[] = [0x7d, 0x5d];
const SPACES: readonly number[] = [0x20, 0x09, 0x0a, 0x0d];

/**
 * Cuts a stream of bytes into JSON objects, which may follow each other with or without space between. It only finds their ends; what
 * is in them is for who reads them. Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED for one above `bytesMax`.
 */
export class ObjectSplitter {
  /** Of an object whose end has not come. */
  readonly #held: ByteBuffer;
  #depth = 0;
  #inString = false;
  #escaped = false;

  constructor(bytesMax: number) {
    this.#held = new ByteBuffer(bytesMax);
  }

  /** Whether an object has begun that has not ended. */
  get inside(): boolean {
    return this.#depth > 0;
  }

  /** Memory that the object in the making takes. */
  get heldBytes(): number {
    return this.#held.heldBytes;
  }

  /** Of a stream that ends inside an object. */
  unfinished(): GrpcError {
    return new GrpcError('INVALID_ARGUMENT', 'the last JSON object has no end');
  }

  /** The objects that end in this piece. */
  push(chunk: Uint8Array): readonly Uint8Array[] {
    const whole: Uint8Array[] = [];
    let start = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      if (!this.inside) {
        if (SPACES.includes(byte)) continue;
        if (byte !== OPEN[0]) throw new GrpcError('INVALID_ARGUMENT', 'expected a JSON object');
        start = at;
      }
      if (!this.#ends(byte)) continue;
      this.#held.add(chunk.subarray(start, at + 1));
      whole.push(this.#held.take());
    }
    if (this.inside) this.#held.add(chunk.subarray(start));
    return whole;
  }

  /** Whether an object ends with this byte. */
  #ends(byte: number): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
      return false;
    }
    if (byte === QUOTE) this.#inString = true;
    else if (OPEN.includes(byte)) this.#depth += 1;
    else if (CLOSE.includes(byte)) this.#depth -= 1;
    return this.#depth === 0;
  }
}
