/** Half-open byte range of store keys. */
export interface StoreRange {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
}

export interface ScanOptions {
  readonly reverse?: boolean;
  readonly limit: number;
  /** Stop after about this many bytes of keys and values; at least one row is returned. */
  readonly bytesMax: number;
  /** Leave the values empty. */
  readonly keysOnly?: boolean;
}

export type StoreRow = readonly [key: Uint8Array, value: Uint8Array];

export interface StateReader {
  /** Values in the order of the keys; undefined where there is none. Returned buffers belong to the caller. */
  getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]>;
  scan(range: StoreRange, options: ScanOptions): Promise<readonly StoreRow[]>;
}

/** A consistent view of the store at one moment. */
export interface ReadView extends StateReader {
  close(): Promise<void>;
}

/** Collects the changes of one atomic write; later operations on a key win. */
export interface StoreBatch {
  put(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): void;
}

/**
 * The ordered, durable store of one replica. The contract suite is `testkit/src/contract/state-store.ts`.
 *
 * A write is atomic: after a crash all of it is there or nothing. Without `sync` a crash of the process or of the machine may lose the
 * latest writes, but only a suffix of them; a synced write takes all before it along. After a failed write none is taken any more.
 */
export interface StateStore extends StateReader {
  write(fill: (batch: StoreBatch) => void, options: { readonly sync: boolean }): Promise<void>;
  /** Resolves when everything written before this call survives a crash of the machine. */
  sync(): Promise<void>;
  readView(): ReadView;
  /**
   * Gives back the disk space of what was deleted from a range, at the cost of rewriting what is left in it. Reads and writes go on.
   * Rejects with KV_STOPPED when the store is closed.
   */
  reclaim(range: StoreRange): Promise<void>;
  /** Bytes on disk, approximately. */
  sizeBytes(): Promise<number>;
  close(): Promise<void>;
}

/**
 * Opens one store per name below a data directory; refuses one that is locked or damaged with KV_DATA_DIR.
 *
 * A store has room for a second one beside it, its *side store*, in which a snapshot is put together while the first goes on. The side
 * store outlives crashes until it is adopted or removed.
 */
export interface StateStores {
  open(name: string): Promise<StateStore>;
  /** Opens the side store of a name, as an interrupted process left it, else empty. */
  openSide(name: string): Promise<StateStore>;
  /**
   * Makes the side store of a name its store, in place of the former one, which is deleted. Both must be closed. After a crash at any
   * moment the next `open` finds the former store whole or the adopted one whole and synced; when this resolves, the adopted one.
   */
  adoptSide(name: string): Promise<void>;
  /** Deletes the side store of a name, which must be closed. Harmless when there is none. */
  removeSide(name: string): Promise<void>;
  /** Deletes the store and the side store of a name, which must be closed. Harmless when there is none. */
  remove(name: string): Promise<void>;
  /** The names of the stores there are, open or not, in no order. */
  list(): Promise<readonly string[]>;
  close(): Promise<void>;
}
