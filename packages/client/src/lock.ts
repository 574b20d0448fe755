import { EMPTY_BYTES, fromUtf8, KvError } from '@kvorum/base';
import type { Holding, LineParts } from './holding.ts';
import type { Bytes } from './key-range.ts';
import { CALL_OPTIONS, type CallOptions, checkOptions } from './options.ts';
import { Tenure } from './tenure.ts';
import { type LineOptions, WaitingLine } from './waiting-line.ts';

export type LockOptions = LineOptions;

export const LINE_OPTIONS: readonly string[] = [...CALL_OPTIONS, 'lease', 'ttlSeconds'];

/**
 * A lock that this program holds, until {@link Lock.release}, the end of an `await using` block or of its lease.
 *
 * No lock of a distributed system keeps a program from acting late that was suspended meanwhile: give `token` along with what the lock
 * protects, and let it refuse a token below the highest that it has seen; or put {@link Lock.fence} into the transactions on keys of
 * the lock's shard.
 */
export class Lock extends Tenure {
  readonly name: string;

  /** @internal Locks come from `kv.lock`. */
  constructor(name: string, holding: Holding) {
    super(holding);
    this.name = name;
  }

  get isHeld(): boolean {
    return this.holding.isHeld;
  }

  /**
   * Gives it up; that it is lost already is as well. When this rejects, a lock with a lease of its own ends with its time
   * (`ttlSeconds`) at the latest.
   */
  async release(options: CallOptions = {}): Promise<void> {
    checkOptions(options, CALL_OPTIONS);
    await this.holding.leave(options);
  }
}

/** Waits for a lock; undefined when it `isImpatient` and somebody else holds it. */
export async function acquireLock(
  parts: LineParts,
  name: Bytes,
  options: LockOptions,
  { isImpatient }: { readonly isImpatient: boolean },
): Promise<Lock | undefined> {
  checkOptions(options, LINE_OPTIONS);
  const line = new WaitingLine(parts, name);
  const holding = await line.enter(EMPTY_BYTES, options, { isImpatient });
  return holding === undefined ? undefined : new Lock(fromUtf8(line.name), holding);
}

/** Runs `work` with a lock. Errors: those of the work; KV_NOT_HELD and KV_LEASE_LOST when it was lost before the work was done. */
export async function withLock<T>(
  parts: LineParts,
  name: Bytes,
  work: (lock: Lock) => T | Promise<T>,
  options: LockOptions,
): Promise<T> {
  const lock = await acquireLock(parts, name, options, { isImpatient: false });
  if (lock === undefined) throw new KvError('KV_NOT_HELD');
  try {
    const result = await work(lock);
    lock.check();
    return result;
  } finally {
    await lock[Symbol.asyncDispose]();
  }
}
