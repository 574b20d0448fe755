import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { assert, copyBytes, EMPTY_BYTES, KvError, utf8 } from '@kvorum/base';
import type {
  ReadView,
  ScanOptions,
  StateReader,
  StateStore,
  StoreBatch,
  StoreImage,
  StoreRange,
  StoreRow,
} from '@kvorum/ports';
import type { Level } from 'level';
import { operationError } from './level-errors.ts';
import { LevelStoreImage } from './level-image.ts';
import { linkFiles, type Still } from './linked-files.ts';
import { PendingRows, type RowChange, textOf } from './pending-rows.ts';
import { imagesDirectory } from './store-directories.ts';
import { syncWriteAheadLogs } from './synced-files.ts';

type Db = Level<Uint8Array, Uint8Array>;
type Snapshot = ReturnType<Db['snapshot']>;

/**
 * Up to this many keys are read on the calling thread: a point read takes 3–5 µs, the hop to a worker thread and back about 25 µs, paid
 * once a getMany. Beyond it the hop is worth keeping the event loop free, since a read may wait for the disk.
 */
const SYNC_READ_KEYS_MAX = 8;

/** One hop of a scan brings at most this many bytes, so that a large scan does not hold two copies of its rows. */
const SCAN_CHUNK_BYTES_MAX = 1024 * 1024;
const SCAN_CHUNK_ROWS_MAX = 4096;

/**
 * Unsynced writes wait in memory until they are this large or this old together. A write of its own for every small batch would wake a worker
 * thread each time; with one put at a time that was the dearest part of applying it (190 µs of the main thread a put in a profile of three members
 * on two busy virtual cores).
 */
const WRITE_BEHIND_BYTES_MAX = 16 * 1024;
const WRITE_BEHIND_MS = 250;

/** Never written; deleting it gives an otherwise empty batch something to sync. */
const SYNC_MARKER_KEY = utf8('\u{10ffff}sync');

/** Runs one step at a time over all stores of a process: each holds one of Node's four worker threads. */
export type Turn = (step: () => Promise<void>) => Promise<void>;

interface ReadOptions {
  readonly keyEncoding: 'view';
  readonly valueEncoding: 'view';
  readonly snapshot?: Snapshot;
}
/** Given with every read: without them the driver clones the options to add them, a third of the cost of a point read. */
const ENCODINGS: ReadOptions = { keyEncoding: 'view', valueEncoding: 'view' };

/** Reads of a store, at its newest state or at a snapshot. */
class LevelReader implements StateReader {
  readonly #db: Db;
  readonly #snapshot: Snapshot | undefined;
  readonly #readOptions: ReadOptions;

  constructor(db: Db, snapshot?: Snapshot) {
    this.#db = db;
    this.#snapshot = snapshot;
    this.#readOptions = snapshot === undefined ? ENCODINGS : { ...ENCODINGS, snapshot };
  }

  async getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    try {
      if (keys.length <= SYNC_READ_KEYS_MAX) {
        return keys.map((key) => this.#db.getSync(key, this.#readOptions));
      }
      return await this.#db.getMany([...keys], this.#readOptions);
    } catch (error) {
      throw operationError(error, 'read');
    }
  }

  async scan(range: StoreRange, options: ScanOptions): Promise<readonly StoreRow[]> {
    if (options.limit <= 0) return [];
    try {
      return await this.#scan(range, options);
    } catch (error) {
      throw operationError(error, 'read');
    }
  }

  async #scan(range: StoreRange, options: ScanOptions): Promise<readonly StoreRow[]> {
    const keysOnly = options.keysOnly === true;
    const iterator = this.#db.iterator({
      gte: range.gte,
      lt: range.lt,
      reverse: options.reverse === true,
      limit: options.limit,
      values: !keysOnly,
      highWaterMarkBytes: Math.min(Math.max(options.bytesMax, 1), SCAN_CHUNK_BYTES_MAX),
      ...this.#readOptions,
    });
    const rows: StoreRow[] = [];
    let bytes = 0;
    try {
      for (;;) {
        const wanted = Math.min(options.limit - rows.length, SCAN_CHUNK_ROWS_MAX);
        const chunk = wanted === 0 ? [] : await iterator.nextv(wanted);
        if (chunk.length === 0) return rows;
        for (const [key, value] of chunk) {
          // Without values the driver leaves them undefined.
          const row: StoreRow = [key, keysOnly ? EMPTY_BYTES : value];
          rows.push(row);
          bytes += row[0].length + row[1].length;
          if (bytes >= options.bytesMax) return rows;
        }
      }
    } finally {
      await iterator.close();
    }
  }

  async close(): Promise<void> {
    await this.#snapshot?.close();
  }
}

/** A view reads from the moment of its snapshot, which is taken when what was written before is in LevelDB. */
class LevelReadView implements ReadView {
  readonly #reader: Promise<LevelReader>;
  readonly #isStoreOpen: () => boolean;
  #open = true;

  constructor(reader: Promise<LevelReader>, isStoreOpen: () => boolean) {
    this.#reader = reader;
    this.#isStoreOpen = isStoreOpen;
    reader.catch(() => undefined); // the reads report it
  }

  async getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    return (await this.#ready()).getMany(keys);
  }

  async scan(range: StoreRange, options: ScanOptions): Promise<readonly StoreRow[]> {
    return (await this.#ready()).scan(range, options);
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    const reader = await this.#reader.catch(() => undefined);
    await reader?.close();
  }

  #ready(): Promise<LevelReader> {
    if (!this.#isStoreOpen()) throw new KvError('KV_STOPPED', 'the state store is closed');
    assert(this.#open, 'read on a closed view');
    return this.#reader;
  }
}

/**
 * One LevelDB behind the StateStore port, with small writes gathered in memory before it.
 *
 * Unsynced writes are answered from memory and reach LevelDB in their order, so a crash of the process or of the machine loses a
 * suffix of them; a synced write takes all before it along. One exception of LevelDB when the machine crashes: changing to a new
 * write-ahead log it does not sync the old one, so until the full write buffer is a table file (normally well below a
 * second) the old log's end could be lost and the new log's begin kept.
 *
 * Once a write has failed, no later one is taken, since it would leave a hole, and nothing is read any more: memory and LevelDB no
 * longer agree. A failed write behind is reported by the next call.
 */
export class LevelStateStore implements StateStore {
  readonly #db: Db;
  readonly #reader: LevelReader;
  readonly #onClose: () => void;
  readonly #turn: Turn;
  #pending = new PendingRows();
  /** On their way into LevelDB, oldest first; still read from here. */
  readonly #flushing: PendingRows[] = [];
  /** Settles when the last write has. Writes run on worker threads, which would not keep their order by themselves. */
  #lastWrite: Promise<void> = Promise.resolve();
  #writesUnderWay = 0;
  #reclaiming: Promise<void> = Promise.resolve();
  /** Settles when no image is being taken. */
  #imaging: Promise<unknown> = Promise.resolve();
  readonly #images = new Set<LevelStoreImage>();
  #lastImage = 0;
  #timer: NodeJS.Timeout | undefined;
  #failure: KvError | undefined;
  #closing: Promise<void> | undefined;

  constructor(db: Db, turn: Turn, onClose: () => void) {
    this.#db = db;
    this.#turn = turn;
    this.#reader = new LevelReader(db);
    this.#onClose = onClose;
  }

  async getMany(keys: readonly Uint8Array[]): Promise<readonly (Uint8Array | undefined)[]> {
    this.#checkSound();
    if (this.#pending.isEmpty && this.#flushing.length === 0) return this.#reader.getMany(keys);
    const known = keys.map((key) => this.#find(key));
    const values = await this.#reader.getMany(keys.filter((_, i) => known[i] === undefined));
    let next = 0;
    return known.map((change) => {
      if (change === undefined) return values[next++];
      return change.value === undefined ? undefined : copyBytes(change.value);
    });
  }

  async scan(range: StoreRange, options: ScanOptions): Promise<readonly StoreRow[]> {
    await this.#flushPending();
    return this.#reader.scan(range, options);
  }

  async write(
    fill: (batch: StoreBatch) => void,
    options: { readonly sync: boolean },
  ): Promise<void> {
    this.#checkOpen();
    const changes: RowChange[] = [];
    let bytes = 0;
    const add = (key: Uint8Array, value: Uint8Array | undefined): void => {
      changes.push({ key, value });
      bytes += key.length + (value?.length ?? 0);
    };
    fill({ put: add, delete: (key) => add(key, undefined) });
    this.#checkSound();
    if (options.sync || this.#pending.bytes + bytes > WRITE_BEHIND_BYTES_MAX) {
      return this.#flush(changes, options.sync);
    }
    for (const change of changes) this.#pending.add(change);
    this.#timer ??= setTimeout(() => this.#flushLate(), WRITE_BEHIND_MS).unref();
  }

  readView(): ReadView {
    this.#checkOpen();
    const isOpen = (): boolean => this.#closing === undefined;
    const takeSnapshot = (): LevelReader => new LevelReader(this.#db, this.#db.snapshot());
    const isQuiet =
      this.#writesUnderWay === 0 && this.#pending.isEmpty && this.#flushing.length === 0;
    const reader = isQuiet
      ? Promise.resolve(takeSnapshot())
      : this.#still(async () => takeSnapshot());
    return new LevelReadView(reader, isOpen);
  }

  async image(): Promise<{ readonly image: StoreImage; readonly view: ReadView }> {
    this.#checkOpen();
    let reader: LevelReader | undefined;
    const opening = this.#openImage(() => {
      reader = new LevelReader(this.#db, this.#db.snapshot());
    });
    this.#imaging = Promise.allSettled([this.#imaging, opening]);
    try {
      const image = await opening;
      assert(reader !== undefined, 'the snapshot was taken');
      const isOpen = (): boolean => this.#closing === undefined;
      return { image, view: new LevelReadView(Promise.resolve(reader), isOpen) };
    } catch (error) {
      await reader?.close();
      this.#checkOpen();
      throw error instanceof KvError ? error : operationError(error, 'read');
    }
  }

  async #openImage(atMoment: () => void): Promise<LevelStoreImage> {
    this.#lastImage += 1;
    const directory = join(imagesDirectory(this.#db.location), String(this.#lastImage));
    const still: Still = (step) =>
      this.#still(async () => {
        atMoment();
        await step();
      });
    try {
      const layout = await linkFiles(this.#db.location, directory, still);
      const image: LevelStoreImage = new LevelStoreImage(directory, layout, () =>
        this.#images.delete(image),
      );
      this.#images.add(image);
      return image;
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * A synced write alone leaves one gap: LevelDB syncs the write-ahead log that the write went to, not an older one whose table file
   * is still being built. So every log there is gets synced; one that is gone by then stands in a synced table file.
   */
  async sync(): Promise<void> {
    this.#checkOpen();
    this.#checkSound();
    await this.#flush([], true);
    try {
      await syncWriteAheadLogs(this.#db.location);
    } catch (error) {
      throw operationError(error, 'write');
    }
  }

  async reclaim(range: StoreRange): Promise<void> {
    this.#checkOpen();
    await this.#flushPending();
    const db = this.#db;
    // The type is that of all platforms; on Node it is always there.
    assert(canCompactRange(db), 'this build of LevelDB cannot compact a range');
    await this.#turn(async () => {
      this.#checkOpen();
      this.#reclaiming = compactRange(db, range);
      await this.#reclaiming;
    });
  }

  /** Sum of the files' sizes; LevelDB's own estimate leaves out the write-ahead log. */
  async sizeBytes(): Promise<number> {
    this.#checkOpen();
    try {
      const names = await readdir(this.#db.location);
      const sizes = await Promise.all(names.map((name) => this.#fileBytes(name)));
      return sizes.reduce((sum, size) => sum + size, 0);
    } catch (error) {
      throw operationError(error, 'read');
    }
  }

  async #fileBytes(name: string): Promise<number> {
    try {
      return (await stat(join(this.#db.location, name))).size;
    } catch {
      return 0; // a level compaction may remove a file between the listing and here
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // What failed was its writer's to see, or is lost as in a crash: the writer replays it from the log.
    await this.#flushPending().catch(() => undefined);
    await this.#imaging;
    await Promise.all([...this.#images].map((image) => image.close()));
    await this.#lastWrite.catch(() => undefined);
    await this.#reclaiming.catch(() => undefined);
    await this.#db.close();
    this.#onClose();
  }

  /** The newest change of a key that LevelDB may not hold yet. */
  #find(key: Uint8Array): RowChange | undefined {
    const text = textOf(key);
    const pending = this.#pending.find(text);
    if (pending !== undefined) return pending;
    for (let i = this.#flushing.length - 1; i >= 0; i -= 1) {
      const change = this.#flushing[i]?.find(text);
      if (change !== undefined) return change;
    }
    return undefined;
  }

  #flushLate(): void {
    this.#flush([], false).catch(() => undefined); // the next call reports it
  }

  /** Resolves when LevelDB holds everything that readers see. */
  async #flushPending(): Promise<void> {
    this.#checkSound();
    if (!this.#pending.isEmpty) await this.#flush([], false);
    else if (this.#flushing.length > 0) await this.#lastWrite.catch(() => this.#checkSound());
  }

  /** Everything pending and these changes in one atomic write, after all writes before it. */
  async #flush(changes: readonly RowChange[], sync: boolean): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // Where nothing waits there is nothing to forget afterwards: what begins to wait meanwhile is the next flush's.
    const rows = this.#pending.isEmpty ? undefined : this.#pending;
    if (rows !== undefined) {
      this.#pending = new PendingRows();
      this.#flushing.push(rows);
    }
    const batch = this.#batchOf(rows, changes, sync);
    try {
      await this.#inOrder(() => batch.write({ sync }));
    } catch (error) {
      await batch.close();
      throw error;
    }
    if (rows !== undefined) this.#flushing.splice(this.#flushing.indexOf(rows), 1);
  }

  #batchOf(
    rows: PendingRows | undefined,
    changes: readonly RowChange[],
    sync: boolean,
  ): ReturnType<Db['batch']> {
    // A chained batch copies each row into LevelDB's own buffer at once: a third cheaper than batch([...]), which
    // makes an object a row first (1.9 against 2.9 µs of time, 2.8 against 4.2 µs of CPU, rows of 276 B).
    const batch = this.#db.batch();
    for (const { key, value } of rows?.changes() ?? []) put(batch, key, value);
    for (const { key, value } of changes) put(batch, key, value);
    if (batch.length === 0 && sync) batch.del(SYNC_MARKER_KEY);
    return batch;
  }

  /** Runs a step when LevelDB holds everything that readers see, and before anything else is written. */
  async #still<T>(step: () => Promise<T>): Promise<T> {
    const flushed = this.#flushPending();
    let outcome: PromiseSettledResult<T> | undefined;
    const taken = this.#inOrder(async () => {
      [outcome] = await Promise.allSettled([step()]); // no write fails with it
    });
    await Promise.all([flushed, taken]);
    assert(outcome !== undefined, 'the step ran');
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  }

  /** Runs one step of the write order; after a failure none runs any more. */
  async #inOrder(step: () => Promise<void>): Promise<void> {
    const previous = this.#lastWrite;
    const run = async (): Promise<void> => {
      if (this.#writesUnderWay > 1) await previous.catch(() => undefined);
      if (this.#failure !== undefined) throw this.#failure;
      await step();
    };
    this.#writesUnderWay += 1;
    this.#lastWrite = run();
    this.#lastWrite.catch(() => undefined);
    try {
      await this.#lastWrite;
    } catch (error) {
      this.#failure ??= error instanceof KvError ? error : operationError(error, 'write');
      throw this.#failure;
    } finally {
      this.#writesUnderWay -= 1;
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new KvError('KV_STOPPED', 'the state store is closed');
  }

  #checkSound(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

interface RangeCompactor {
  compactRange(
    start: Uint8Array,
    end: Uint8Array,
    options: { readonly keyEncoding: 'view' },
  ): Promise<void>;
}

/**
 * LevelDB looks how deep the range lies before it writes out what it has in memory; a table written then may come to lie deeper, and would be
 * left alone. So an empty range goes ahead.
 */
async function compactRange(db: RangeCompactor, { gte, lt }: StoreRange): Promise<void> {
  const options = { keyEncoding: 'view' } as const;
  try {
    await db.compactRange(gte, gte, options);
    await db.compactRange(gte, lt, options);
  } catch (error) {
    throw operationError(error, 'write');
  }
}

function canCompactRange(db: Db): db is Db & RangeCompactor {
  return 'compactRange' in db;
}

function put(batch: ReturnType<Db['batch']>, key: Uint8Array, value: Uint8Array | undefined): void {
  if (value === undefined) batch.del(key);
  else batch.put(key, value);
}
