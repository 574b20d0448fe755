import { GrpcError } from '../grpc-error.ts';

const BYTES_MIN = 4096;

/** Bytes that come in pieces of any size, in one piece of memory; bounded. Errors: RESOURCE_EXHAUSTED above `bytesMax`. */
export class ByteBuffer {
  readonly #bytesMax: number;
  #bytes = Buffer.alloc(0);
  #length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Memory that it takes. */
  get heldBytes(): number {
    return this.#bytes.length;
  }

  add(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    // In gRPC's words, as etcd has them.
    if (length > this.#bytesMax) {
      throw new GrpcError(
        'RESOURCE_EXHAUSTED',
        `grpc: received message larger than max (${length} vs. ${this.#bytesMax})`,
      );
    }
    if (length > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(length, this.#bytes.length * 2, BYTES_MIN));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = length;
  }

  /** Everything added, and nothing is left. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    return taken;
  }
}
