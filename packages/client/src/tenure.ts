import type { Compare } from '@kvorum/base';
import type { Holding } from './holding.ts';
import type { Lease } from './lease.ts';

/** What a lock that is held and a leadership have in common: a key with a lease, for as long as this program has it. */
export abstract class Tenure {
  protected readonly holding: Holding;

  /** @internal */
  constructor(holding: Holding) {
    this.holding = holding;
  }

  /** Its key: exists as long as this program holds the lock, or leads. */
  get key(): Uint8Array {
    return this.holding.key;
  }

  /** Its own, or the one that was given for it: what else hangs on it goes with the lock, or with the leadership. */
  get lease(): Lease {
    return this.holding.lease;
  }

  /** Fencing token: greater than that of everybody who held the lock, or led, before. The revision that created the key. */
  get token(): number {
    return this.holding.token;
  }

  /** Aborted as soon as it is lost or given up, or that is not certain; `signal.reason` says why. */
  get signal(): AbortSignal {
    return this.holding.signal;
  }

  /** Throws why this program does not have it any more: KV_NOT_HELD, KV_LEASE_LOST, KV_CANCELLED after it was given up. */
  check(): void {
    this.holding.check();
  }

  /**
   * For a transaction's `compare`: it is applied only while the lock is held, or under this leadership. Its keys must lie in the shard of
   * the lock, or of the election.
   */
  fence(): Compare {
    return this.holding.fence();
  }

  /** Gives it up. An error is told only of one with a lease of yours. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.holding.dispose();
  }
}
