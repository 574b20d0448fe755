import { rm } from 'node:fs/promises';
import { assert, KvError } from '@kvorum/base';
import type { SideImage, StateStore, StateStores } from '@kvorum/ports';
import { Level } from 'level';
import { openError } from './level-errors.ts';
import { receiveImage, resumeImage, type SidePlace } from './level-side-image.ts';
import { LevelStateStore, type Turn } from './level-state-store.ts';
import { readReceived } from './received-record.ts';
import {
  adoptSideDirectory,
  finishAdoption,
  imagesDirectory,
  listStores,
  mainDirectory,
  RESERVED_NAME,
  removeDirectories,
  removeSideDirectory,
  sideDirectory,
  sidePlace,
} from './store-directories.ts';

/**
 * Sizes of one store. Measured with 8 and 16 stores in one process, 1 M puts of 256 B with two rows each (2 cores, Node 20):
 * resident memory 170–260 MB, of which 130–200 MB are not mapped files; a put costs 5 µs of CPU.
 */
export interface LevelTuning {
  /** LevelDB holds up to two of these in memory. 16 MiB made no put cheaper, 4 MiB saves a third of the memory. */
  readonly writeBufferBytes: number;
  /** Uncompressed blocks; what it misses is usually still in the page cache. */
  readonly blockCacheBytes: number;
  /**
   * Snappy: 2–6 times less on disk when values compress. Without it blocks are read where the file is mapped, neither inflated nor
   * copied: a linearizable get of one key among a million cost the members 13 µs instead of 20 (values that compress).
   */
  readonly compression: boolean;
}

export const DEFAULT_LEVEL_TUNING: LevelTuning = {
  writeBufferBytes: 8 * 1024 * 1024,
  blockCacheBytes: 8 * 1024 * 1024,
  compression: false,
};

export interface LevelStoresOptions {
  /** Data directory; each store is a directory of its name in it. Created when absent. */
  readonly directory: string;
  readonly tuning?: Partial<LevelTuning>;
}

const STORE_NAME = /^[a-z0-9][a-z0-9._-]*$/i;

/** The StateStores on LevelDB, one database a name. Nothing is opened yet. */
export function openLevelStores(options: LevelStoresOptions): StateStores {
  return new LevelStateStores(options);
}

class LevelStateStores implements StateStores {
  readonly #directory: string;
  readonly #tuning: LevelTuning;
  /** By directory. */
  readonly #open = new Map<string, LevelStateStore>();
  /** Opening is asynchronous: a close meanwhile must not leave a database open behind. */
  readonly #opening = new Set<Promise<StateStore>>();
  #lastTurn: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: LevelStoresOptions) {
    this.#directory = options.directory;
    this.#tuning = { ...DEFAULT_LEVEL_TUNING, ...options.tuning };
  }

  open(name: string): Promise<StateStore> {
    return this.#track(name, async () => {
      await finishAdoption(this.#directory, name);
      return this.#openLevel(mainDirectory(this.#directory, name));
    });
  }

  openSide(name: string): Promise<StateStore> {
    return this.#track(name, async () => {
      await finishAdoption(this.#directory, name);
      const { side, record } = sidePlace(this.#directory, name);
      const received = await readReceived(record);
      assert(received?.complete !== false, `the image in the side store of ${name} is not whole`);
      return this.#openLevel(side);
    });
  }

  receiveSide(name: string, layout: Uint8Array, note: Uint8Array): Promise<SideImage> {
    return this.#side(name, (place) => receiveImage(place, layout, note));
  }

  resumeSide(name: string): Promise<SideImage | undefined> {
    return this.#side(name, resumeImage);
  }

  adoptSide(name: string): Promise<void> {
    return this.#change(name, 'both', () => adoptSideDirectory(this.#directory, name));
  }

  removeSide(name: string): Promise<void> {
    return this.#change(name, 'side', () => removeSideDirectory(this.#directory, name));
  }

  remove(name: string): Promise<void> {
    return this.#change(name, 'both', () => removeDirectories(this.#directory, name));
  }

  list(): Promise<readonly string[]> {
    return listStores(this.#directory);
  }

  async #side<T>(name: string, use: (place: SidePlace) => Promise<T>): Promise<T> {
    checkName(name);
    const place = sidePlace(this.#directory, name);
    assert(!this.#open.has(place.side), `the side store of ${name} is open`);
    if (this.#closed) throw new KvError('KV_STOPPED', 'the stores are closed');
    try {
      await finishAdoption(this.#directory, name);
      return await use(place);
    } catch (error) {
      throw error instanceof KvError ? error : openError(place.side, error);
    }
  }

  #track(name: string, open: () => Promise<StateStore>): Promise<StateStore> {
    checkName(name);
    if (this.#closed) return Promise.reject(new KvError('KV_STOPPED', 'the stores are closed'));
    const opening = open();
    this.#opening.add(opening);
    const forget = (): void => {
      this.#opening.delete(opening);
    };
    opening.then(forget, forget);
    return opening;
  }

  async #openLevel(directory: string): Promise<StateStore> {
    const level = new Level<Uint8Array, Uint8Array>(directory, {
      keyEncoding: 'view',
      valueEncoding: 'view',
      writeBufferSize: this.#tuning.writeBufferBytes,
      cacheSize: this.#tuning.blockCacheBytes,
      compression: this.#tuning.compression,
    });
    try {
      await level.open();
    } catch (error) {
      throw openError(directory, error);
    }
    // Of a process that did not come to close them.
    await rm(imagesDirectory(directory), { recursive: true, force: true });
    const store = new LevelStateStore(level, this.#turn, () => this.#open.delete(directory));
    this.#open.set(directory, store);
    return store;
  }

  async #change(name: string, which: 'side' | 'both', change: () => Promise<void>): Promise<void> {
    checkName(name);
    const side = sideDirectory(this.#directory, name);
    assert(!this.#open.has(side), `the side store of ${name} is open`);
    const isMainOpen = this.#open.has(mainDirectory(this.#directory, name));
    assert(which === 'side' || !isMainOpen, `the store ${name} is open`);
    try {
      await change();
    } catch (error) {
      throw openError(side, error);
    }
  }

  readonly #turn: Turn = (step) => {
    const mine = this.#lastTurn.then(step);
    this.#lastTurn = mine.catch(() => undefined); // its own caller hears of it
    return mine;
  };

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#opening]);
    await Promise.all([...this.#open.values()].map((store) => store.close()));
  }
}

function checkName(name: string): void {
  const plain = STORE_NAME.test(name) && !RESERVED_NAME.test(name);
  assert(plain, `store name must be a plain file name: ${name}`);
}
