import { fromUtf8, InvariantError, KvError, type LogOffset, logOffset, utf8 } from '@kvorum/base';
import type { LogBounds, LogEntry, LogName } from '@kvorum/ports';
import { Level } from 'level';
import {
  decodeStart,
  encodeStart,
  FORMAT_KEY,
  FORMAT_VALUE,
  offsetOf,
  recordKey,
  startKey,
} from './log-keys.ts';

const MIB = 1024 * 1024;
/** LevelDB's default of 4 MiB would flush after eight full records. */
const WRITE_BUFFER_BYTES = 32 * MIB;
const CACHE_BYTES = 4 * MIB;
/** Deleted records are left where they are until they take this much. */
const RECLAIM_BYTES_MIN = 8 * MIB;

export interface NewRecord {
  readonly log: LogName;
  readonly offset: LogOffset;
  readonly bytes: Uint8Array;
}

/** The LevelDB under all local logs. Every write is synced; offsets are the caller's business. */
export class LogDatabase {
  readonly #level: Level<Uint8Array, Uint8Array>;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#level = new Level(directory, {
      keyEncoding: 'view',
      valueEncoding: 'view',
      compression: false,
      writeBufferSize: WRITE_BUFFER_BYTES,
      cacheSize: CACHE_BYTES,
    });
  }

  /** Errors: KV_DATA_DIR when it is locked, damaged, not ours or not writable. */
  async open(): Promise<void> {
    try {
      await this.#level.open();
    } catch (error) {
      throw new KvError('KV_DATA_DIR', `${this.#directory}: ${reasonOf(error)}`, { cause: error });
    }
    const format = await this.#level.get(FORMAT_KEY);
    if (format !== undefined && fromUtf8(format) === FORMAT_VALUE) return;
    const [anyKey] = await this.#level.keys({ limit: 1 }).all();
    if (anyKey === undefined) {
      await this.#level.put(FORMAT_KEY, utf8(FORMAT_VALUE), { sync: true });
      return;
    }
    await this.#level.close();
    const found = format === undefined ? 'no Kvorum log' : `format "${fromUtf8(format)}"`;
    throw new KvError(
      'KV_DATA_DIR',
      `${this.#directory} holds ${found}, this version reads "${FORMAT_VALUE}"`,
    );
  }

  async close(): Promise<void> {
    await this.#level.close();
  }

  /** Bounds of a log, undefined when there is none of that name. Drops what an interrupted truncation left. */
  async load(log: LogName): Promise<LogBounds | undefined> {
    const stored = await this.#level.get(startKey(log));
    if (stored === undefined) return undefined;
    const start = decodeStart(stored);
    await this.#level.clear({ gte: recordKey(log, 0), lt: recordKey(log, start) });
    const range = { gte: recordKey(log, start), lte: recordKey(log, Number.MAX_SAFE_INTEGER) };
    const [last] = await this.#level.keys({ ...range, reverse: true, limit: 1 }).all();
    return { start, end: last === undefined ? start : logOffset(offsetOf(last) + 1) };
  }

  async create(log: LogName): Promise<void> {
    await this.#level.put(startKey(log), encodeStart(logOffset(0)), { sync: true });
  }

  /** All of them or none, on disk when it resolves. */
  async write(records: readonly NewRecord[]): Promise<void> {
    const batch = this.#level.batch();
    for (const { log, offset, bytes } of records) batch.put(recordKey(log, offset), bytes);
    await batch.write({ sync: true });
  }

  /** Stores the new start, then deletes what lies below. */
  async truncate(log: LogName, from: LogOffset, before: LogOffset): Promise<void> {
    await this.#level.put(startKey(log), encodeStart(before), { sync: true });
    await this.#level.clear({ gte: recordKey(log, from), lt: recordKey(log, before) });
    await this.#reclaim(recordKey(log, logOffset(0)), recordKey(log, before));
  }

  /**
   * Gives the space of deleted records back. LevelDB would keep them, and a tombstone each: nothing is ever written again where they
   * lie. All that is there is dead, so this costs little more than dropping files.
   */
  async #reclaim(gte: Uint8Array, lt: Uint8Array): Promise<void> {
    const level = this.#level;
    if (!canReclaim(level))
      throw new InvariantError('this build of LevelDB cannot compact a range');
    const options = { keyEncoding: 'view' } as const;
    if ((await level.approximateSize(gte, lt, options)) < RECLAIM_BYTES_MIN) return;
    // First an empty range: what is in memory must lie in its place before LevelDB looks how deep the range goes.
    await level.compactRange(gte, gte, options);
    await level.compactRange(gte, lt, options);
  }

  /** Records of [from, end), the first of them whatever its size, more up to `bytesMax`. */
  async read(log: LogName, bounds: LogBounds, bytesMax: number): Promise<readonly LogEntry[]> {
    const entries: LogEntry[] = [];
    let bytes = 0;
    const range = { gte: recordKey(log, bounds.start), lt: recordKey(log, bounds.end) };
    for await (const [key, value] of this.#level.iterator(range)) {
      if (entries.length > 0 && bytes + value.length > bytesMax) break;
      entries.push({ offset: offsetOf(key), bytes: value });
      bytes += value.length;
      if (bytes >= bytesMax) break;
    }
    return entries;
  }
}

/** What the type for all platforms leaves out. */
interface Reclaiming {
  approximateSize(start: Uint8Array, end: Uint8Array, options: ViewOptions): Promise<number>;
  compactRange(start: Uint8Array, end: Uint8Array, options: ViewOptions): Promise<void>;
}

interface ViewOptions {
  readonly keyEncoding: 'view';
}

function canReclaim<T extends object>(level: T): level is T & Reclaiming {
  return 'compactRange' in level && 'approximateSize' in level;
}

/** The words of the innermost error: level wraps the operating system's. */
function reasonOf(error: unknown): string {
  let reason = error;
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause;
  if (!(reason instanceof Error)) return String(reason);
  if ('code' in reason && reason.code === 'LEVEL_LOCKED') {
    return 'it is in use by another process';
  }
  return reason.message;
}
