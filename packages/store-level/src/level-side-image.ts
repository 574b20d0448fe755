import { type FileHandle, mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KvError, partitionPoint } from '@kvorum/base';
import type { SideImage } from '@kvorum/ports';
import { decodeLayout, type ImageLayout, layoutBytes } from './image-layout.ts';
import { operationError } from './level-errors.ts';
import { type ReceivedRecord, readReceived, writeReceived } from './received-record.ts';
import { isErrno, syncPath } from './synced-files.ts';

/** Where an image is received, and where it is noted how much of it. */
export interface SidePlace {
  readonly root: string;
  readonly side: string;
  readonly record: string;
}

/** Begins the side directory anew. Errors: KV_CORRUPT for a layout that is none of a LevelDB. */
export async function receiveImage(
  place: SidePlace,
  layout: Uint8Array,
  note: Uint8Array,
): Promise<SideImage> {
  decodeLayout(layout);
  const record = { received: 0, complete: false, note, layout };
  // It stands before anything changes: what an earlier record said of the files must not count for those of this image.
  await mkdir(place.root, { recursive: true });
  await writeReceived(place, record);
  return emptyImage(place, record);
}

/** Undefined when there is no image, or when files of it are missing. */
export async function resumeImage(place: SidePlace): Promise<SideImage | undefined> {
  const record = await readReceived(place.record);
  if (record === undefined) return undefined;
  if (record.received === 0) return emptyImage(place, record);
  const layout = decodeLayout(record.layout);
  const isThere = record.complete || (await holds(place.side, layout, record.received));
  return isThere ? new LevelSideImage(place, record, layout) : undefined;
}

async function emptyImage(place: SidePlace, record: ReceivedRecord): Promise<SideImage> {
  await rm(place.side, { recursive: true, force: true });
  await mkdir(place.side);
  return new LevelSideImage(place, record, decodeLayout(record.layout));
}

/** Whether the files that hold the first `received` bytes are there, as long as they must be. */
async function holds(side: string, { files }: ImageLayout, received: number): Promise<boolean> {
  let left = received;
  for (const { name, bytes } of files) {
    if (left === 0) break;
    const needed = Math.min(left, bytes);
    const size = await stat(join(side, name)).then(
      (found) => found.size,
      (error: unknown) => {
        if (isErrno(error, 'ENOENT')) return 0;
        throw error;
      },
    );
    if (size < needed) return false;
    left -= needed;
  }
  return true;
}

interface PlacedFile {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** The files of an image, written one after the other; whole ones are synced while the next is written. */
class LevelSideImage implements SideImage {
  readonly #place: SidePlace;
  readonly #files: readonly PlacedFile[];
  readonly #layout: ImageLayout;
  #record: ReceivedRecord;
  #received: number;
  /** The file that is being written. */
  #handle: FileHandle | undefined;
  /** Settles when all whole files are synced and closed. One at a time: each takes one of Node's four worker threads. */
  #synced: Promise<void> = Promise.resolve();

  constructor(place: SidePlace, record: ReceivedRecord, layout: ImageLayout) {
    this.#place = place;
    this.#record = record;
    this.#received = record.received;
    this.#layout = layout;
    let to = 0;
    this.#files = layout.files.map(({ name, bytes }) => {
      const from = to;
      to += bytes;
      return { name, from, to };
    });
  }

  get received(): number {
    return this.#received;
  }

  get note(): Uint8Array {
    return this.#record.note;
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      let rest = bytes;
      while (rest.length > 0) rest = rest.subarray(await this.#writeOne(rest));
    } catch (error) {
      throw failed(error);
    }
  }

  async save(note: Uint8Array): Promise<void> {
    try {
      await this.#sync();
      await this.#keep({ ...this.#record, received: this.#received, note });
    } catch (error) {
      throw failed(error);
    }
  }

  async complete(note: Uint8Array): Promise<void> {
    if (this.#received !== layoutBytes(this.#layout)) {
      throw new KvError('KV_CORRUPT', 'the image is shorter than its layout says');
    }
    try {
      // Once LevelDB has opened the store, CURRENT is its own.
      if (!this.#record.complete) {
        await writeFile(join(this.#place.side, 'CURRENT'), this.#layout.current, { flush: true });
        await this.#sync();
      }
      await this.#keep({ ...this.#record, received: this.#received, complete: true, note });
    } catch (error) {
      throw failed(error);
    }
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
    await this.#synced.catch(() => undefined); // whoever saves hears of it
  }

  /** Writes what belongs into one file; returns how much it was. */
  async #writeOne(bytes: Uint8Array): Promise<number> {
    const file = this.#files[partitionPoint(this.#files, ({ to }) => to <= this.#received)];
    if (file === undefined) {
      throw new KvError('KV_CORRUPT', 'the image is longer than its layout says');
    }
    const handle = this.#handle ?? (await this.#open(file));
    this.#handle = handle;
    const length = Math.min(bytes.length, file.to - this.#received);
    const from = this.#received - file.from;
    for (let done = 0; done < length; ) {
      done += (await handle.write(bytes, done, length - done, from + done)).bytesWritten;
    }
    this.#received += length;
    if (this.#received === file.to) this.#finish(handle);
    return length;
  }

  /** A crash may have left more of it than was saved. */
  async #open({ name, from }: PlacedFile): Promise<FileHandle> {
    const path = join(this.#place.side, name);
    if (this.#received === from) return open(path, 'w');
    const handle = await open(path, 'r+');
    await handle.truncate(this.#received - from);
    return handle;
  }

  #finish(handle: FileHandle): void {
    this.#handle = undefined;
    this.#synced = this.#syncAfter(this.#synced, handle);
    this.#synced.catch(() => undefined); // whoever saves hears of it
  }

  async #syncAfter(earlier: Promise<void>, handle: FileHandle): Promise<void> {
    try {
      await earlier;
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async #sync(): Promise<void> {
    await this.#synced;
    await this.#handle?.sync();
    await syncPath(this.#place.side);
  }

  async #keep(record: ReceivedRecord): Promise<void> {
    await writeReceived(this.#place, record);
    this.#record = record;
  }
}

function failed(error: unknown): KvError {
  return error instanceof KvError ? error : operationError(error, 'write');
}
