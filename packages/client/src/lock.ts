import { type Compare, EMPTY_BYTES, fromUtf8, KvError } from '@kvorum/base';
import type { Holding, LineParts } from './holding.ts';
import type { Bytes } from './key-range.ts';
import type { Lease } from './lease.ts';
import { CALL_OPTIONS, type CallOptions, checkOptions } from './options.ts';
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
export class Lock {
  readonly name: string;
  readonly #holding: Holding;

  /** @internal Locks come from `kv.lock`. */
  constructor(name: string, holding: Holding) {
    this.name = name;
    this.#holding = holding;
  }

  /** Its key: exists as long as it is held. */
  get key(): Uint8Array {
    return this.#holding.key;
  }

  /** Its own, or the one that it was acquired with: what else hangs on it goes with the lock. */
  get lease(): Lease {
    return this.#holding.lease;
  }

  /** Fencing token: greater than that of everybody who held this lock before. The revision that created the key. */
  get token(): number {
    return this.#holding.token;
  }

  /** Aborted as soon as it is not held any more, or that is not certain; `signal.reason` says why. */
  get signal(): AbortSignal {
    return this.#holding.signal;
  }

  get isHeld(): boolean {
    return this.#holding.isHeld;
  }

  /** Throws why it is not held any more: KV_NOT_HELD, KV_LEASE_LOST, KV_CANCELLED after its release. */
  check(): void {
    this.#holding.check();
  }

  /** For a transaction's `compare`: it is applied only while the lock is held. Its keys must lie in the lock's shard. */
  fence(): Compare {
    return this.#holding.fence();
  }

  /**
   * Gives it up; that it is lost already is as well. When this rejects, a lock with a lease of its own ends with its time
   * (`ttlSeconds`) at the latest.
   */
  async release(options: CallOptions = {}): Promise<void> {
    checkOptions(options, CALL_OPTIONS);
    await this.#holding.leave(options);
  }

  /** Releases it. An error is told only of a lock with a lease of yours. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#holding.dispose();
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
