import { assert, KvError, type LogOffset } from '@kvorum/base';
import { applyRowsUpTo, applyWriteSet, decodeWriteSet } from '@kvorum/mvcc';
import type { LogEntry, SharedLog, StateStore, StoreBatch } from '@kvorum/ports';
import { type AcceptedState, type FilterContext, judge } from '@kvorum/raft';
import { decodeLogRecord, type LogRecord } from '@kvorum/wire';
import { sha256 } from './sha256.ts';

const READ_BYTES = 8 * 1024 * 1024;
const READ_WAIT_MS = 2000;

/** Where a replay ends: the end of the log, a revision of the shard (inclusive), or a time by the leaders' wall clocks (inclusive). */
export type ReplayUntil =
  | { readonly kind: 'end' }
  | { readonly kind: 'revision'; readonly revision: number }
  | { readonly kind: 'time'; readonly timeMs: number };

export interface ReplayOptions {
  readonly store: StateStore;
  readonly log: SharedLog;
  readonly shard: string;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  /** Position and revision of the store. */
  readonly from: AcceptedState;
  readonly revision: number;
  readonly compactRevision: number;
  readonly until: ReplayUntil;
  readonly progress: (records: number) => void;
}

export interface Replayed {
  readonly revision: number;
  readonly compactRevision: number;
  /** Accepted records that were applied. */
  readonly records: number;
  /** By the clock of the leader that logged the last of them; undefined when there was none. */
  readonly timeMs: number | undefined;
}

/**
 * Applies the records of a log to a copy, judged as every replica judges them.
 *
 * Errors: KV_BACKUP when the log does not go on where the copy ends, contradicts it, or does not answer.
 */
export async function replayLog(options: ReplayOptions): Promise<Replayed> {
  const replay = new Replay(options);
  if (options.until.kind === 'revision' && options.revision > options.until.revision) {
    const found = `stands at revision ${options.revision}, after ${options.until.revision}`;
    throw failed(options, `the copy ${found}: choose an older one`);
  }
  const { start, end } = await boundsOf(options);
  let next = (options.from.offset + 1) as LogOffset;
  if (start > next) {
    throw failed(options, `the log starts at offset ${start}, the copy ends before ${next}`);
  }
  while (next < end && !replay.isDone) {
    const entries = await read(options, next);
    const last = entries.at(-1);
    if (last === undefined) throw failed(options, `the log does not give offset ${next}`);
    await replay.take(entries.filter((entry) => entry.offset < end));
    next = (last.offset + 1) as LogOffset;
  }
  return replay.result;
}

const failed = (options: ReplayOptions, what: string): KvError =>
  new KvError('KV_BACKUP', `shard ${options.shard}, ${options.log.name}: ${what}`, {
    details: { shard: options.shard },
  });

async function boundsOf(
  options: ReplayOptions,
): Promise<{ readonly start: number; readonly end: number }> {
  const bounds = await options.log.bounds();
  if ('kind' in bounds) throw bounds.error;
  return bounds;
}

async function read(options: ReplayOptions, from: LogOffset): Promise<readonly LogEntry[]> {
  const { signal } = new AbortController();
  const outcome = await options.log.read(from, {
    bytesMax: READ_BYTES,
    waitMs: READ_WAIT_MS,
    signal,
  });
  if (outcome.kind === 'records') return outcome.entries;
  if (outcome.kind === 'unavailable') throw outcome.error;
  throw failed(options, `offset ${from} is out of range`);
}

class Replay {
  readonly #options: ReplayOptions;
  readonly #context: FilterContext;
  #state: AcceptedState;
  #revision: number;
  #compactRevision: number;
  #records = 0;
  #timeMs: number | undefined;
  #done = false;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#state = options.from;
    this.#revision = options.revision;
    this.#compactRevision = options.compactRevision;
    this.#done = options.until.kind === 'revision' && options.revision === options.until.revision;
    this.#context = {
      shardUid: options.shardUid,
      generation: options.generation,
      chain: (chainHash, digest) => sha256(chainHash, digest),
    };
  }

  get isDone(): boolean {
    return this.#done;
  }

  get result(): Replayed {
    return {
      revision: this.#revision,
      compactRevision: this.#compactRevision,
      records: this.#records,
      timeMs: this.#timeMs,
    };
  }

  /** Everything of one read in one write. */
  async take(entries: readonly LogEntry[]): Promise<void> {
    const apply: ((batch: StoreBatch) => void)[] = [];
    for (const entry of entries) {
      const record = this.#accepted(entry);
      if (record !== undefined) this.#one(record, apply);
      if (this.#done) break;
    }
    await this.#options.store.write(
      (batch) => {
        for (const step of apply) step(batch);
      },
      { sync: false },
    );
    this.#options.progress(this.#records);
  }

  #accepted(entry: LogEntry): LogRecord | undefined {
    const decoded = decodeLogRecord(entry.bytes);
    const record = decoded.ok
      ? { ...decoded.value, offset: entry.offset, digest: sha256(entry.bytes) }
      : { offset: entry.offset, unreadable: decoded.error };
    const verdict = judge(this.#state, record, this.#context);
    if (verdict.kind === 'halt') {
      const { detail, expected, found } = verdict.report;
      throw failed(this.#options, `${detail} (expected ${expected}, found ${found})`);
    }
    if (verdict.kind === 'install') {
      const { parentGeneration, index } = verdict.genesis;
      const base = `record ${index} of generation ${parentGeneration}`;
      throw failed(this.#options, `it goes on from ${base}, which the copy does not hold`);
    }
    this.#state = verdict.state;
    return verdict.kind === 'accept' && decoded.ok ? decoded.value : undefined;
  }

  #one(record: LogRecord, apply: ((batch: StoreBatch) => void)[]): void {
    const { until } = this.#options;
    if (until.kind === 'time' && record.leaderTimeMs > until.timeMs) {
      this.#done = true;
      return;
    }
    this.#records += 1;
    this.#timeMs = record.leaderTimeMs;
    if (record.kind !== 'batch') return;
    const decoded = decodeWriteSet(record.payload);
    if (!decoded.ok) throw decoded.error;
    const writeSet = decoded.value;
    assert(writeSet.baseRevision === this.#revision, 'a write set that does not follow');
    const after = writeSet.baseRevision + writeSet.revisionCount;
    const limit = until.kind === 'revision' ? until.revision : after;
    if (after > limit) {
      apply.push((batch) => applyRowsUpTo(writeSet, limit, batch));
      this.#revision = limit;
      this.#done = true;
      return;
    }
    apply.push((batch) => applyWriteSet(writeSet, batch));
    this.#revision = after;
    this.#compactRevision = writeSet.compactRevision ?? this.#compactRevision;
    this.#done = until.kind === 'revision' && after === limit;
  }
}
