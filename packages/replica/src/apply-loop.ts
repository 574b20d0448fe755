import { assert, type Limits, type LogIndex } from '@kvorum/base';
import type { AcceptedState, RecordKind } from '@kvorum/raft';
import { AppliedWaiters } from './applied-waiters.ts';

/** One accepted record on its way into the store. */
export interface AcceptedRecord {
  readonly kind: RecordKind;
  readonly payload: Uint8Array;
  /** The filter's state after it; written in the same store batch. */
  readonly state: AcceptedState;
  /** It is the open proposal of this process. */
  readonly own: boolean;
}

export interface ApplyHost {
  /** Writes all records' changes and the last one's state in ONE store batch, then takes them into memory. */
  readonly write: (records: readonly AcceptedRecord[]) => Promise<void>;
  readonly applied: (records: readonly AcceptedRecord[]) => void;
  readonly broken: (error: unknown) => void;
}

/**
 * Applies accepted records in order, several to a store batch when they queue up.
 *
 * Invariant: appliedIndex moves only after the batch that holds it is written, so whoever waits for an index reads its effects.
 */
export class ApplyLoop {
  readonly #host: ApplyHost;
  readonly #limits: Limits;
  readonly #waiters = new AppliedWaiters();
  #queue: AcceptedRecord[] = [];
  #queueBytes = 0;
  #tasks: (() => Promise<void>)[] = [];
  #appliedIndex: LogIndex;
  #running = false;
  #stopped = false;
  #roomWaiters: (() => void)[] = [];
  #idleWaiters: (() => void)[] = [];

  constructor(host: ApplyHost, appliedIndex: LogIndex, limits: Limits) {
    this.#host = host;
    this.#limits = limits;
    this.#appliedIndex = appliedIndex;
  }

  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  /** Somebody waits for an index that is not applied yet. */
  get isAwaited(): boolean {
    return this.#waiters.size > 0;
  }

  enqueue(record: AcceptedRecord): void {
    this.#queue.push(record);
    this.#queueBytes += record.payload.length;
    this.#start();
  }

  whenApplied(index: LogIndex, run: () => void): void {
    if (this.#appliedIndex >= index) run();
    else this.#waiters.add(index, run);
  }

  /** Runs a task between two store batches, for work that must not race with applying. */
  exclusive(task: () => Promise<void>): void {
    this.#tasks.push(task);
    this.#start();
  }

  /** Resolves when the backlog is below its bound. */
  room(): Promise<void> {
    if (this.#queueBytes < this.#limits.applyBacklogBytesMax || this.#stopped)
      return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** Drops what is not written yet (it is in the log) and resolves when nothing is being written. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#queue = [];
    this.#tasks = [];
    this.#waiters.clear();
    this.#releaseRoom();
    if (!this.#running) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #start(): void {
    if (this.#running || this.#stopped) return;
    this.#running = true;
    this.#run().catch((error: unknown) => {
      this.#idle();
      this.#host.broken(error);
    });
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const records = this.#takeRun();
      if (records.length > 0) await this.#apply(records);
      const task = this.#tasks.shift();
      if (task !== undefined) await task();
      if (records.length === 0 && task === undefined) break;
    }
    this.#idle();
  }

  /** Synchronously after the last look at the queue, so that nothing enqueued meanwhile is left lying. */
  #idle(): void {
    this.#running = false;
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  async #apply(records: readonly AcceptedRecord[]): Promise<void> {
    const first = records[0] as AcceptedRecord;
    const last = records[records.length - 1] as AcceptedRecord;
    const next = this.#appliedIndex + 1;
    assert(
      first.state.index === next,
      `apply ${first.state.index} does not follow ${this.#appliedIndex}`,
    );
    await this.#host.write(records);
    this.#appliedIndex = last.state.index;
    if (this.#stopped) return;
    this.#host.applied(records);
    this.#waiters.advance(this.#appliedIndex);
  }

  #takeRun(): readonly AcceptedRecord[] {
    let count = 0;
    let bytes = 0;
    for (const record of this.#queue) {
      if (count > 0 && bytes + record.payload.length > this.#limits.applyRunBytesTarget) break;
      bytes += record.payload.length;
      count += 1;
    }
    if (count === 0) return [];
    this.#queueBytes -= bytes;
    const run = this.#queue.splice(0, count);
    if (this.#queueBytes < this.#limits.applyBacklogBytesMax) this.#releaseRoom();
    return run;
  }

  #releaseRoom(): void {
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }
}
