import { assert, compareBytes, EMPTY_BYTES, KvError, partitionPoint } from '@kvorum/base';
import type {
  ReadView,
  ScanOptions,
  SideImage,
  StateStore,
  StateStores,
  StoreBatch,
  StoreImage,
  StoreRange,
  StoreRow,
} from '@kvorum/ports';

import { MemorySideImages } from './memory-side-image.ts';
import { encodeRows, rowsLayout } from './row-bytes.ts';

type Change = readonly [key: Uint8Array, value: Uint8Array | undefined];

/** The side store of a name is kept under the name with this behind it. */
const SIDE = '.side';
const sideOf = (name: string): string => `${name}${SIDE}`;

/** Writes that a crash may lose; older ones count as written back by the operating system. */
const UNSYNCED_WRITES_MAX = 1024;

/** Index of the first row whose key is >= `key`. */
function lowerBound(rows: readonly StoreRow[], key: Uint8Array): number {
  return partitionPoint(rows, ([rowKey]) => compareBytes(rowKey, key) < 0);
}

function applyChanges(rows: StoreRow[], changes: readonly Change[]): void {
  for (const [key, value] of changes) {
    const at = lowerBound(rows, key);
    const found = rows[at];
    const exists = found !== undefined && compareBytes(found[0], key) === 0;
    if (value !== undefined) rows.splice(at, exists ? 1 : 0, [key, value]);
    else if (exists) rows.splice(at, 1);
  }
}

/** Looks at each row that is read, and throws if it cannot be. */
type RowCheck = (row: StoreRow) => void;

function getRows(
  rows: readonly StoreRow[],
  keys: readonly Uint8Array[],
  check: RowCheck,
): readonly (Uint8Array | undefined)[] {
  return keys.map((key) => {
    const row = rows[lowerBound(rows, key)];
    if (row === undefined || compareBytes(row[0], key) !== 0) return undefined;
    check(row);
    return row[1].slice();
  });
}

function scanRows(
  rows: readonly StoreRow[],
  range: StoreRange,
  { check, ...options }: ScanOptions & { readonly check: RowCheck },
): readonly StoreRow[] {
  const from = lowerBound(rows, range.gte);
  const to = Math.max(from, lowerBound(rows, range.lt));
  const out: StoreRow[] = [];
  let bytes = 0;
  for (let i = 0; i < to - from && out.length < options.limit; i += 1) {
    const row = rows[options.reverse === true ? to - 1 - i : from + i];
    assert(row !== undefined, 'scan ran outside its bounds');
    check(row);
    const value = options.keysOnly === true ? EMPTY_BYTES : row[1].slice();
    out.push([row[0].slice(), value]);
    bytes += row[0].length + value.length;
    if (bytes >= options.bytesMax) break;
  }
  return out;
}

/** What survives a closed or crashed handle: the "disk" of one store. */
class Disk {
  rows: StoreRow[] = [];
  /** `rows` is seen by a view: copy before the next change. */
  shared = false;
  /** What a crash of the machine certainly keeps. */
  durable: StoreRow[] = [];
  readonly unsynced: (readonly Change[])[] = [];
  /** Rows whose block fails its checksum, by value buffer: the buffer of a row is never changed in place. */
  readonly damaged = new Set<Uint8Array>();

  write(changes: readonly Change[], sync: boolean): void {
    if (this.shared) {
      this.rows = this.rows.slice();
      this.shared = false;
    }
    applyChanges(this.rows, changes);
    this.unsynced.push(changes);
    const writeBack = sync ? this.unsynced.length : this.unsynced.length - UNSYNCED_WRITES_MAX;
    if (writeBack > 0) this.#writeBack(writeBack);
  }

  /** Takes the place of everything, synced. */
  fill(rows: readonly StoreRow[]): void {
    this.wipe();
    this.write(rows, true);
  }

  /** Keeps the first `keep` unsynced writes, `torn` changes of the next one, and loses the rest. */
  crash(keep: number, torn: number): void {
    const next = this.unsynced[keep]?.slice(0, torn) ?? [];
    this.#writeBack(keep);
    applyChanges(this.durable, next);
    this.unsynced.length = 0;
    this.rows = this.durable.slice();
    this.shared = false;
  }

  /** Everything is on the disk. */
  settle(): void {
    this.#writeBack(this.unsynced.length);
  }

  wipe(): void {
    this.rows = [];
    this.durable = [];
    this.unsynced.length = 0;
    this.damaged.clear();
  }

  /** Throws when a row that is read is damaged, as a store with checksums does. */
  readonly check: RowCheck = ([, value]) => {
    if (this.damaged.size === 0 || !this.damaged.has(value)) return;
    throw new KvError('KV_CORRUPT', 'a block fails its checksum (injected)');
  };

  #writeBack(count: number): void {
    for (const changes of this.unsynced.splice(0, count)) applyChanges(this.durable, changes);
  }
}

class MemoryStateStore implements StateStore {
  readonly #disk: Disk;
  readonly #onClose: () => void;
  readonly #isFull: () => boolean;
  /** A crashed or closed handle answers KV_STOPPED for good. */
  #open = true;

  constructor(disk: Disk, host: { readonly onClose: () => void; readonly isFull: () => boolean }) {
    this.#disk = disk;
    this.#onClose = host.onClose;
    this.#isFull = host.isFull;
  }

  async getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    this.#checkOpen();
    return getRows(this.#disk.rows, keys, this.#disk.check);
  }

  async scan(range: StoreRange, options: ScanOptions): Promise<readonly StoreRow[]> {
    this.#checkOpen();
    return scanRows(this.#disk.rows, range, { ...options, check: this.#disk.check });
  }

  async write(
    fill: (batch: StoreBatch) => void,
    options: { readonly sync: boolean },
  ): Promise<void> {
    this.#checkOpen();
    if (this.#isFull()) throw new KvError('KV_NO_SPACE', 'the disk is full (injected)');
    const changes: Change[] = [];
    fill({
      put: (key, value) => changes.push([key.slice(), value.slice()]),
      delete: (key) => changes.push([key.slice(), undefined]),
    });
    this.#disk.write(changes, options.sync);
  }

  async sync(): Promise<void> {
    await this.write(() => undefined, { sync: true });
  }

  async reclaim(_range: StoreRange): Promise<void> {
    this.#checkOpen();
  }

  readView(): ReadView {
    this.#checkOpen();
    const rows = this.#disk.rows;
    this.#disk.shared = true;
    let open = true;
    const check = (): void => {
      this.#checkOpen();
      assert(open, 'read on a closed view');
    };
    return {
      getMany: async (keys) => {
        check();
        return getRows(rows, keys, this.#disk.check);
      },
      scan: async (range, options) => {
        check();
        return scanRows(rows, range, { ...options, check: this.#disk.check });
      },
      close: async () => {
        open = false;
      },
    };
  }

  async image(): Promise<{ readonly image: StoreImage; readonly view: ReadView }> {
    this.#checkOpen();
    for (const row of this.#disk.rows) this.#disk.check(row);
    const bytes = encodeRows(this.#disk.rows);
    let open = true;
    const image: StoreImage = {
      layout: rowsLayout(bytes.length),
      bytes: bytes.length,
      read: async (from, length) => {
        if (!open || !this.#open) throw new KvError('KV_STOPPED');
        return bytes.slice(from, from + length);
      },
      close: async () => {
        open = false;
      },
    };
    return { image, view: this.readView() };
  }

  async sizeBytes(): Promise<number> {
    this.#checkOpen();
    return this.#disk.rows.reduce((bytes, [key, value]) => bytes + key.length + value.length, 0);
  }

  async close(): Promise<void> {
    this.stop();
  }

  stop(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#onClose();
  }

  #checkOpen(): void {
    if (!this.#open) throw new KvError('KV_STOPPED', 'the state store is closed');
  }
}

/** One member's stores, in memory; its "disks" outlive close and crash as long as this object lives. */
export interface MemoryStateStores extends StateStores {
  /**
   * The machine crashes: every open handle stops and each store loses a suffix of its unsynced writes. A write that was torn by the
   * crash is lost whole, unless the stores were made to break their contract.
   *
   * @param keep - how many of `unsynced` unsynced writes survive; default none.
   */
  crash(keep?: (unsynced: number) => number): void;
  /** From now on writes are refused with KV_NO_SPACE, or taken again. */
  setFull(full: boolean): void;
  /** Every store is empty, as on a new disk. All handles stop. */
  wipe(): void;
  /**
   * A bit of one stored row flips: whoever reads the row gets KV_CORRUPT, as from a store with checksums. `pick` chooses one of `rows`
   * rows. False when the store has none.
   */
  damage(name: string, pick: (rows: number) => number): boolean;
  /** The rows of a store as they are now, or as a crash of the machine would surely leave them: for checkers. */
  rows(name: string, which: 'now' | 'durable'): readonly StoreRow[];
}

export interface MemoryStateStoresOptions {
  /** For planting a bug: how many of `changes` changes of a torn write a crash leaves, against the contract. */
  readonly tear?: (changes: number) => number;
}

/** What the stores of a member share. */
interface Places {
  readonly disks: Map<string, Disk>;
  readonly images: MemorySideImages;
  readonly openDisk: (name: string) => Promise<StateStore>;
  readonly checkClosed: (...names: readonly string[]) => void;
}

type SideStores = Pick<
  StateStores,
  'openSide' | 'receiveSide' | 'resumeSide' | 'adoptSide' | 'removeSide'
>;

function sideStores({ disks, images, openDisk, checkClosed }: Places): SideStores {
  return {
    openSide: async (name) => {
      assert(images.isWhole(name), `the image in "${name}" is not whole`);
      return openDisk(sideOf(name));
    },
    async receiveSide(name: string, layout: Uint8Array, note: Uint8Array): Promise<SideImage> {
      checkClosed(sideOf(name));
      const image = images.begin(name, layout, note);
      disks.delete(sideOf(name));
      return image;
    },
    async resumeSide(name: string): Promise<SideImage | undefined> {
      checkClosed(sideOf(name));
      return images.resume(name);
    },
    async adoptSide(name: string): Promise<void> {
      checkClosed(name, sideOf(name));
      const side = disks.get(sideOf(name));
      assert(side !== undefined, `the store "${name}" has no side store`);
      side.settle();
      disks.set(name, side);
      disks.delete(sideOf(name));
      images.forget(name);
    },
    async removeSide(name: string): Promise<void> {
      checkClosed(sideOf(name));
      disks.delete(sideOf(name));
      images.forget(name);
    },
  };
}

/** StateStores in memory, under the contract of the real ones, for tests and simulations. */
export function memoryStateStores(options: MemoryStateStoresOptions = {}): MemoryStateStores {
  const disks = new Map<string, Disk>();
  const open = new Map<string, MemoryStateStore>();
  let full = false;
  const stopAll = (): void => {
    for (const store of [...open.values()]) store.stop();
    images.stop();
  };
  const images = new MemorySideImages({
    isFull: () => full,
    filled: (name, rows) => {
      const disk = new Disk();
      disk.fill(rows);
      disks.set(sideOf(name), disk);
    },
  });
  const openDisk = async (name: string): Promise<StateStore> => {
    if (open.has(name)) {
      throw new KvError('KV_DATA_DIR', `the store "${name}" is open already`);
    }
    const disk = disks.get(name) ?? new Disk();
    disks.set(name, disk);
    const onClose = (): boolean => open.delete(name);
    const store = new MemoryStateStore(disk, { onClose, isFull: () => full });
    open.set(name, store);
    return store;
  };
  const checkClosed = (...names: readonly string[]): void => {
    for (const name of names) assert(!open.has(name), `the store "${name}" is open`);
  };
  return {
    open: (name) => openDisk(name),
    ...sideStores({ disks, images, openDisk, checkClosed }),
    async remove(name: string): Promise<void> {
      checkClosed(name, sideOf(name));
      disks.delete(name);
      disks.delete(sideOf(name));
      images.forget(name);
    },
    list: async () => [...disks.keys()].filter((name) => !name.endsWith(SIDE)),
    async close(): Promise<void> {
      stopAll();
    },
    crash(keep: (unsynced: number) => number = () => 0): void {
      stopAll();
      for (const disk of disks.values()) {
        const kept = keep(disk.unsynced.length);
        disk.crash(kept, options.tear?.(disk.unsynced[kept]?.length ?? 0) ?? 0);
      }
    },
    setFull(next: boolean): void {
      full = next;
    },
    wipe(): void {
      stopAll();
      images.wipe();
      for (const disk of disks.values()) disk.wipe();
    },
    damage(name: string, pick: (rows: number) => number): boolean {
      const disk = disks.get(name);
      const row = disk?.rows[disk.rows.length === 0 ? 0 : pick(disk.rows.length)];
      if (disk === undefined || row === undefined) return false;
      disk.damaged.add(row[1]);
      return true;
    },
    rows(name: string, which: 'now' | 'durable'): readonly StoreRow[] {
      const disk = disks.get(name);
      return (which === 'now' ? disk?.rows : disk?.durable) ?? [];
    },
  };
}
