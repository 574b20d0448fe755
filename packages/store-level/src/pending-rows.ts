import { copyBytes } from '@kvorum/base';

/** One change of a batch; no value = the key is deleted. */
export interface RowChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** Changes that readers see already although LevelDB does not hold them yet; a later change of a key replaces the earlier one. */
export class PendingRows {
  readonly #changes = new Map<string, RowChange>();
  #bytes = 0;

  /** Bytes added so far, replaced ones included. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#changes.size === 0;
  }

  /** Copies the change: its buffers stay the caller's. */
  add({ key, value }: RowChange): void {
    const copy = { key: copyBytes(key), value: value === undefined ? undefined : copyBytes(value) };
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
}

/** A key as a string of one character a byte, to be looked up by. */
export function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
