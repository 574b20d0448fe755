import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { assert, KvError, partitionPoint } from '@kvorum/base';
import type { StoreImage } from '@kvorum/ports';
import { encodeLayout, type ImageLayout, layoutBytes } from './image-layout.ts';
import { operationError } from './level-errors.ts';

interface PlacedFile {
  readonly path: string;
  /** Where it begins and ends in the image. */
  readonly from: number;
  readonly to: number;
}

/** Linked files of a LevelDB, read one after the other; they are unlinked when it is closed. */
export class LevelStoreImage implements StoreImage {
  readonly layout: Uint8Array;
  readonly bytes: number;
  readonly #directory: string;
  readonly #files: readonly PlacedFile[];
  readonly #onClose: () => void;
  #closing: Promise<void> | undefined;

  constructor(directory: string, layout: ImageLayout, onClose: () => void) {
    this.layout = encodeLayout(layout);
    this.bytes = layoutBytes(layout);
    this.#directory = directory;
    this.#files = placed(directory, layout);
    this.#onClose = onClose;
  }

  async read(from: number, length: number): Promise<Uint8Array> {
    this.#checkOpen();
    const out = new Uint8Array(Math.max(0, Math.min(length, this.bytes - from)));
    try {
      let done = 0;
      while (done < out.length) done += await this.#readOne(from + done, out.subarray(done));
      return out;
    } catch (error) {
      this.#checkOpen();
      throw error instanceof KvError ? error : operationError(error, 'read');
    }
  }

  close(): Promise<void> {
    this.#onClose();
    this.#closing ??= rm(this.#directory, { recursive: true, force: true });
    return this.#closing;
  }

  /** As much of one file as belongs at `from` and fits; returns how much it was. */
  async #readOne(from: number, out: Uint8Array): Promise<number> {
    const file = this.#files[partitionPoint(this.#files, ({ to }) => to <= from)];
    assert(file !== undefined, 'an image was read beyond its end');
    const length = Math.min(out.length, file.to - from);
    const handle = await open(file.path, 'r');
    try {
      let done = 0;
      while (done < length) {
        const at = from - file.from + done;
        const { bytesRead } = await handle.read(out, done, length - done, at);
        if (bytesRead === 0) throw new KvError('KV_CORRUPT', `${file.path} is shorter than it was`);
        done += bytesRead;
      }
      return length;
    } finally {
      await handle.close();
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new KvError('KV_STOPPED', 'the image is closed');
  }
}

function placed(directory: string, { files }: ImageLayout): readonly PlacedFile[] {
  let to = 0;
  return files.map(({ name, bytes }) => {
    const from = to;
    to += bytes;
    return { path: join(directory, name), from, to };
  });
}
