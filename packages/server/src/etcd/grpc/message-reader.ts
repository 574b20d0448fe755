import { GrpcError } from '../grpc-error.ts';

const PREFIX_BYTES = 5;
const NO_BYTES = new Uint8Array(0);
/** A message that arrives in pieces takes this much at first, and then twice what has come: what a prefix says is no proof. */
const FIRST_BYTES = 1024;

/** Takes length-prefixed messages out of a stream of bytes that is cut anywhere. */
export class MessageReader {
  readonly #bytesMax: number;
  #prefixLength = 0;
  #flag = 0;
  /** Of the message, once its prefix is complete. */
  #length = 0;
  #received = 0;
  #body = NO_BYTES;
  #chunk: Uint8Array = NO_BYTES;
  #at = 0;

  /** @param bytesMax - of one message. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes of the message that is not complete yet; 0 = the stream may end here. */
  get partialBytes(): number {
    return this.#prefixLength + this.#received;
  }

  /** Memory that the message in the making takes. */
  get heldBytes(): number {
    return this.#body.length;
  }

  /** Hands over what came next; everything before must have been taken. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /**
   * The next complete message, in memory of its own; undefined when more bytes are needed.
   *
   * Errors: GrpcError RESOURCE_EXHAUSTED above the maximum, UNIMPLEMENTED for a compressed one, INTERNAL for no valid prefix; the
   * stream cannot be read further then.
   */
  next(): Uint8Array | undefined {
    if (!this.#readPrefix()) return undefined;
    const missing = this.#length - this.#received;
    const piece = this.#chunk.subarray(this.#at, this.#at + missing);
    this.#at += piece.length;
    if (this.#received === 0 && piece.length === this.#length) {
      return this.#complete(new Uint8Array(piece));
    }
    this.#keep(piece);
    if (this.#received < this.#length) return undefined;
    const body = this.#body;
    return this.#complete(body.length === this.#length ? body : body.slice(0, this.#length));
  }

  /** True when there is a whole prefix. */
  #readPrefix(): boolean {
    if (this.#prefixLength === PREFIX_BYTES) return true;
    while (this.#prefixLength < PREFIX_BYTES) {
      const byte = this.#chunk[this.#at];
      if (byte === undefined) return false;
      if (this.#prefixLength === 0) this.#flag = byte;
      else this.#length = this.#length * 256 + byte;
      this.#prefixLength += 1;
      this.#at += 1;
    }
    if (this.#flag > 1) {
      throw new GrpcError('INTERNAL', `grpc: received unexpected payload format ${this.#flag}`);
    }
    if (this.#flag === 1) {
      throw new GrpcError('UNIMPLEMENTED', 'grpc: Decompressor is not installed for grpc-encoding');
    }
    if (this.#length > this.#bytesMax) {
      throw new GrpcError(
        'RESOURCE_EXHAUSTED',
        `grpc: received message larger than max (${this.#length} vs. ${this.#bytesMax})`,
      );
    }
    return true;
  }

  #keep(piece: Uint8Array): void {
    const needed = this.#received + piece.length;
    if (needed > this.#body.length) {
      const room = Math.min(this.#length, Math.max(FIRST_BYTES, needed, this.#body.length * 2));
      const grown = new Uint8Array(room);
      grown.set(this.#body.subarray(0, this.#received));
      this.#body = grown;
    }
    this.#body.set(piece, this.#received);
    this.#received = needed;
  }

  #complete(message: Uint8Array): Uint8Array {
    this.#prefixLength = 0;
    this.#length = 0;
    this.#received = 0;
    this.#body = NO_BYTES;
    return message;
  }
}
