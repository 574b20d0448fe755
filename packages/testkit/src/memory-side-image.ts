import { concatBytes, EMPTY_BYTES, KvError } from '@kvorum/base';
import type { SideImage, StoreRow } from '@kvorum/ports';
import { decodeRows, rowsBytes } from './row-bytes.ts';

/** What is saved of an image: it outlives crashes. */
interface ReceivedImage {
  /** As the layout says. */
  readonly bytesTotal: number;
  bytes: Uint8Array;
  note: Uint8Array;
  complete: boolean;
}

interface SideImageHost {
  readonly isFull: () => boolean;
  /** The image is whole: these rows are the side store, synced. */
  readonly filled: (rows: readonly StoreRow[]) => void;
  readonly closed: () => void;
}

/** A side store in memory that receives an image; what was not saved is lost with it. */
class MemorySideImage implements SideImage {
  readonly #saved: ReceivedImage;
  readonly #host: SideImageHost;
  #unsaved: Uint8Array[] = [];
  #open = true;

  constructor(saved: ReceivedImage, host: SideImageHost) {
    this.#saved = saved;
    this.#host = host;
  }

  get received(): number {
    return this.#unsaved.reduce((sum, { length }) => sum + length, this.#saved.bytes.length);
  }

  get note(): Uint8Array {
    return this.#saved.note;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#check();
    if (this.received + bytes.length > this.#saved.bytesTotal) {
      throw new KvError('KV_CORRUPT', 'the image is longer than its layout says');
    }
    this.#unsaved.push(bytes.slice());
  }

  async save(note: Uint8Array): Promise<void> {
    this.#check();
    this.#saved.bytes = concatBytes(this.#saved.bytes, ...this.#unsaved);
    this.#saved.note = note.slice();
    this.#unsaved = [];
  }

  async complete(note: Uint8Array): Promise<void> {
    if (this.received !== this.#saved.bytesTotal) {
      throw new KvError('KV_CORRUPT', 'the image is shorter than its layout says');
    }
    await this.save(note);
    if (!this.#saved.complete) this.#host.filled(decodeRows(this.#saved.bytes));
    this.#saved.complete = true;
  }

  async close(): Promise<void> {
    this.stop();
  }

  stop(): void {
    this.#open = false;
    this.#host.closed();
  }

  #check(): void {
    if (!this.#open) throw new KvError('KV_STOPPED', 'the side store is closed');
    if (this.#host.isFull()) throw new KvError('KV_NO_SPACE', 'the disk is full (injected)');
  }
}

export interface SideImagesHost {
  readonly isFull: () => boolean;
  /** The image in this name's side store is whole: these rows, synced. */
  readonly filled: (name: string, rows: readonly StoreRow[]) => void;
}

/** The images that the stores of one member receive, by name. */
export class MemorySideImages {
  readonly #host: SideImagesHost;
  readonly #saved = new Map<string, ReceivedImage>();
  readonly #open = new Set<MemorySideImage>();

  constructor(host: SideImagesHost) {
    this.#host = host;
  }

  begin(name: string, layout: Uint8Array, note: Uint8Array): SideImage {
    const bytesTotal = rowsBytes(layout);
    const image = { bytesTotal, bytes: EMPTY_BYTES, note: note.slice(), complete: false };
    this.#saved.set(name, image);
    return this.#openImage(name, image);
  }

  resume(name: string): SideImage | undefined {
    const image = this.#saved.get(name);
    return image === undefined ? undefined : this.#openImage(name, image);
  }

  /** Nothing is missing, or there is no image at all. */
  isWhole(name: string): boolean {
    return this.#saved.get(name)?.complete !== false;
  }

  forget(name: string): void {
    this.#saved.delete(name);
  }

  /** Every open one loses what was not saved. */
  stop(): void {
    for (const image of [...this.#open]) image.stop();
  }

  wipe(): void {
    this.#saved.clear();
  }

  #openImage(name: string, saved: ReceivedImage): SideImage {
    const { isFull, filled } = this.#host;
    const image: MemorySideImage = new MemorySideImage(saved, {
      isFull,
      filled: (rows) => filled(name, rows),
      closed: () => this.#open.delete(image),
    });
    this.#open.add(image);
    return image;
  }
}
