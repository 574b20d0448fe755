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
 * A store as it was at one moment, as bytes that stores of the same kind make a store of again: a copy of it costs no more than moving the
 * bytes. Until it is closed it keeps disk space that the store itself has given back.
 */
export interface StoreImage {
  /** What the receiving stores must know before the first byte comes. */
  readonly layout: Uint8Array;
  readonly bytes: number;
  /** Up to `length` bytes from `from` on; fewer only at the end. Rejects with KV_STOPPED once image or store is closed. */
  read(from: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A side store that an image is received into, front to back. */
export interface SideImage {
  /** Where the next byte belongs. */
  readonly received: number;
  /** As it was last saved. */
  readonly note: Uint8Array;
  /** Appends; one call at a time. What the image's layout leaves no room for is refused. */
  write(bytes: Uint8Array): Promise<void>;
  /** What was written so far and this note survive a crash of the machine, both or neither. */
  save(note: Uint8Array): Promise<void>;
  /** The last byte is there: saves, and from now on `openSide` opens the store. */
  complete(note: Uint8Array): Promise<void>;
  close(): Promise<void>;
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
  /** An image and a view of one moment, with everything written before the call; each is closed for itself. Writes wait a little meanwhile. */
  image(): Promise<{ readonly image: StoreImage; readonly view: ReadView }>;
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
  /** Opens the side store of a name, as an interrupted process left it, else empty. An image in it must be complete. */
  openSide(name: string): Promise<StateStore>;
  /** Begins the side store of a name anew, to be filled from an image of this layout. Errors: KV_CORRUPT, a layout of another kind of stores. */
  receiveSide(name: string, layout: Uint8Array, note: Uint8Array): Promise<SideImage>;
  /** Goes on with an image where it was last saved; undefined when there is none, or nothing whole of it. */
  resumeSide(name: string): Promise<SideImage | undefined>;
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
