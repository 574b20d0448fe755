import { assert, compareBytes, EMPTY_BYTES, KvError } from '@kvorum/base';
import type {
  ReadView,
  ScanOptions,
  StateStore,
  StateStores,
  StoreBatch,
  StoreRange,
  StoreRow,
} from '@kvorum/ports';

type Change = readonly [key: Uint8Array, value: Uint8Array | undefined];

/** Writes that a crash may lose; older ones count as written back by the operating system. */
const UNSYNCED_WRITES_MAX = 1024;

/** Index of the first row whose key is >= `key`. */
function lowerBound(rows: readonly StoreRow[], key: Uint8Array): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const row = rows[middle];
    assert(row !== undefined, `no row at ${middle}`);
    if (compareBytes(row[0], key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
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

function getRows(
  rows: readonly StoreRow[],
  keys: readonly Uint8Array[],
): readonly (Uint8Array | undefined)[] {
  return keys.map((key) => {
    const row = rows[lowerBound(rows, key)];
    return row !== undefined && compareBytes(row[0], key) === 0 ? row[1].slice() : undefined;
  });
}

function scanRows(
  rows: readonly StoreRow[],
  range: StoreRange,
  options: ScanOptions,
): readonly StoreRow[] {
  const from = lowerBound(rows, range.gte);
  const to = Math.max(from, lowerBound(rows, range.lt));
  const out: StoreRow[] = [];
  let bytes = 0;
  for (let i = 0; i < to - from && out.length < options.limit; i += 1) {
    const row = rows[options.reverse === true ? to - 1 - i : from + i];
    assert(row !== undefined, 'scan ran outside its bounds');
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
  readonly durable: StoreRow[] = [];
  readonly unsynced: (readonly Change[])[] = [];

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

  /** Keeps the first `keep` unsynced writes and loses the rest. */
  crash(keep: number): void {
    this.#writeBack(keep);
    this.unsynced.length = 0;
    this.rows = this.durable.slice();
    this.shared = false;
  }

  #writeBack(count: number): void {
    for (const changes of this.unsynced.splice(0, count)) applyChanges(this.durable, changes);
  }
}

class MemoryStateStore implements StateStore {
  readonly #disk: Disk;
  readonly #onClose: () => void;
  /** A crashed or closed handle answers KV_STOPPED for good. */
  #open = true;

  constructor(disk: Disk, onClose: () => void) {
    this.#disk = disk;
    this.#onClose = onClose;
  }

  async getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    this.#checkOpen();
    return getRows(this.#disk.rows, keys);
  }

  async scan(range: StoreRange, options: ScanOptions): Promise<readonly StoreRow[]> {
    this.#checkOpen();
    return scanRows(this.#disk.rows, range, options);
  }

  async write(
    fill: (batch: StoreBatch) => void,
    options: { readonly sync: boolean },
  ): Promise<void> {
    this.#checkOpen();
    const changes: Change[] = [];
    fill({
      put: (key, value) => changes.push([key.slice(), value.slice()]),
      delete: (key) => changes.push([key.slice(), undefined]),
    });
    this.#disk.write(changes, options.sync);
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
        return getRows(rows, keys);
      },
      scan: async (range, options) => {
        check();
        return scanRows(rows, range, options);
      },
      close: async () => {
        open = false;
      },
    };
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
   * The machine crashes: every open handle stops and each store loses a suffix of its unsynced writes.
   *
   * @param keep - how many of `unsynced` unsynced writes survive; default none.
   */
  crash(keep?: (unsynced: number) => number): void;
}

/** StateStores in memory, under the contract of the real ones, for tests and simulations. */
export function memoryStateStores(): MemoryStateStores {
  const disks = new Map<string, Disk>();
  const open = new Map<string, MemoryStateStore>();
  const stopAll = (): void => {
    for (const store of [...open.values()]) store.stop();
  };
  return {
    async open(name: string): Promise<StateStore> {
      if (open.has(name)) {
        throw new KvError('KV_DATA_DIR', `the store "${name}" is open already`);
      }
      const disk = disks.get(name) ?? new Disk();
      disks.set(name, disk);
      const store = new MemoryStateStore(disk, () => open.delete(name));
      open.set(name, store);
      return store;
    },
    async close(): Promise<void> {
      stopAll();
    },
    crash(keep: (unsynced: number) => number = () => 0): void {
      stopAll();
      for (const disk of disks.values()) disk.crash(keep(disk.unsynced.length));
    },
  };
}
