import { KvError, type LogOffset, logOffset } from '@kvorum/base';
import type { AppendOutcome, LogBounds, ReadOutcome, SharedLog } from '@kvorum/ports';
import type { GroupCommit } from './group-commit.ts';
import type { LogDatabase } from './log-database.ts';
import type { StoredLog } from './stored-log.ts';

export interface LocalLogParts {
  readonly stored: StoredLog;
  readonly database: LogDatabase;
  readonly commit: GroupCommit;
  readonly recordBytesMax: number;
}

const stopped = (): KvError => new KvError('KV_STOPPED', 'the log is closed');

const contains = ({ start, end }: LogBounds, from: LogOffset): boolean =>
  from >= start && from <= end;

/** One log as one member has it open. */
export class LocalLog implements SharedLog {
  readonly name: string;
  readonly #parts: LocalLogParts;
  readonly #stored: StoredLog;
  readonly #closed = new AbortController();
  /** Reads and truncations on their way; the database closes after them. */
  readonly #busy = new Set<Promise<unknown>>();

  constructor(parts: LocalLogParts) {
    this.#parts = parts;
    this.#stored = parts.stored;
    this.name = parts.stored.name;
    this.#stored.members += 1;
  }

  async append(record: Uint8Array): Promise<AppendOutcome> {
    if (this.#closed.signal.aborted) return { kind: 'absent', error: stopped(), oversize: false };
    const limit = this.#parts.recordBytesMax;
    if (record.length > limit) {
      const error = new KvError('KV_REQUEST_TOO_LARGE', `a log record of ${record.length} bytes`, {
        details: { actual: record.length, limit },
      });
      return { kind: 'absent', error, oversize: true };
    }
    return this.#parts.commit.append(this.#stored, record);
  }

  async read(
    from: LogOffset,
    options: { readonly bytesMax: number; readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<ReadOutcome> {
    const deadlineMs = performance.now() + options.waitMs;
    for (;;) {
      const { bounds } = this.#stored;
      if (this.#closed.signal.aborted) return { kind: 'unavailable', error: stopped() };
      if (options.signal.aborted) return { kind: 'records', entries: [], end: bounds.end };
      if (!contains(bounds, from)) return { kind: 'out-of-range', bounds };
      const waitMs = deadlineMs - performance.now();
      if (from === bounds.end) {
        if (waitMs <= 0) return { kind: 'records', entries: [], end: bounds.end };
        await this.#stored.change(waitMs, [options.signal, this.#closed.signal]);
        continue;
      }
      const outcome = await this.#track(this.#fetch(from, bounds, options.bytesMax));
      if (outcome !== undefined) return outcome;
    }
  }

  async bounds(): Promise<LogBounds | { readonly kind: 'unavailable'; readonly error: KvError }> {
    if (this.#closed.signal.aborted) return { kind: 'unavailable', error: stopped() };
    return this.#stored.bounds;
  }

  async truncate(before: LogOffset): Promise<void> {
    const { start, end } = this.#stored.bounds;
    const target = logOffset(Math.min(before, end));
    if (this.#closed.signal.aborted || target <= start) return;
    this.#stored.moveStart(target);
    // A failure leaves records on disk that nobody reads; the next truncation or start deletes them.
    await this.#track(this.#parts.database.truncate(this.name, start, target)).catch(() => {});
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#stored.members -= 1;
    await Promise.allSettled([...this.#busy]);
  }

  /** Undefined when nothing is at `from` although it was in bounds: a truncation came in between. */
  async #fetch(
    from: LogOffset,
    bounds: LogBounds,
    bytesMax: number,
  ): Promise<ReadOutcome | undefined> {
    try {
      const entries =
        this.#stored.recentFrom(from, bytesMax) ??
        (await this.#parts.database.read(this.name, { ...bounds, start: from }, bytesMax));
      const isThere = entries[0]?.offset === from;
      return isThere ? { kind: 'records', entries, end: bounds.end } : undefined;
    } catch (cause) {
      // A damaged block, or a database that is being opened again after a failed write.
      const error = new KvError('KV_LOG_UNAVAILABLE', `cannot read ${this.name}`, { cause });
      return { kind: 'unavailable', error };
    }
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#busy.add(work);
    try {
      return await work;
    } finally {
      this.#busy.delete(work);
    }
  }
}
