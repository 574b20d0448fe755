/** Copies are cut from blocks of this size: an allocation of its own for every key and value costs more than the copy. */
const BLOCK_BYTES = 16 * 1024;

/** One change of a batch; no value = the key is deleted. */
export interface RowChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** Changes that readers see already although LevelDB does not hold them yet; a later change of a key replaces the earlier one. */
export class PendingRows {
  readonly #changes = new Map<string, RowChange>();
  #bytes = 0;
  #block = new Uint8Array(0);
  #used = 0;

  /** Bytes added so far, replaced ones included. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#changes.size === 0;
  }

  /** Copies the change: its buffers stay the caller's. */
  add({ key, value }: RowChange): void {
    const copy = {
      key: this.#copy(key),
      value: value === undefined ? undefined : this.#copy(value),
    };
    this.#changes.set(textOf(key), copy);
    this.#bytes += key.length + (value?.length ?? 0);
  }

  /** The change of a key; its value is not the caller's to keep. */
  find(keyText: string): RowChange | undefined {
    return this.#changes.get(keyText);
  }

  changes(): Iterable<RowChange> {
    return this.#changes.values();
  }

  #copy(bytes: Uint8Array): Uint8Array {
    const from =
      this.#used + bytes.length > this.#block.length ? this.#nextBlock(bytes) : this.#used;
    this.#used = from + bytes.length;
    this.#block.set(bytes, from);
    return this.#block.subarray(from, this.#used);
  }

  #nextBlock({ length }: Uint8Array): number {
    this.#block = new Uint8Array(Math.max(length, BLOCK_BYTES));
    return 0;
  }
}

/** A key as a string of one character a byte, to be looked up by. */
export function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
