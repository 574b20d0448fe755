import { setMaxListeners } from 'node:events';
import { isKvError, KvError } from '@kvorum/base';
import type { TxnResult, WatchEvent } from './answer.ts';
import type { Bytes, KeyRange } from './key-range.ts';
import type { Lease } from './lease.ts';
import type { Leases } from './leases.ts';
import type { CallOptions } from './options.ts';
import { pauseFor, withOutcome } from './question.ts';
import { compare, op, type TxnInit } from './txn.ts';
import type { WatchOptions } from './watch.ts';

const PAUSE_MS = 200;

/** What locks and elections need of their client. */
export interface LineParts {
  readonly txn: (init: TxnInit, options: CallOptions) => Promise<TxnResult>;
  readonly watch: (
    target: Bytes | KeyRange,
    options: WatchOptions,
  ) => Promise<AsyncIterable<WatchEvent>>;
  /** How the slot of a key is called where a watch is to begin. */
  readonly placeOf: (key: Uint8Array) => string;
  readonly leases: Pick<Leases, 'grant'>;
  readonly nowMs: () => number;
  /** Of a call that says nothing else. */
  readonly timeoutMs: number;
}

/** A lease's place in a line, which is that of one holding at a time: the key there is the same for all of them. */
export interface Claim {
  /**
   * It is free for another one.
   *
   * @param removal - what is left to do before: the key may be there yet, and must not be taken for that of the next.
   */
  free(removal?: TxnInit): void;
  /** It is done. */
  removed(removal: TxnInit): void;
}

export interface Held {
  readonly lease: Lease;
  readonly ownsLease: boolean;
  readonly key: Uint8Array;
  /** Revision that created the key. */
  readonly token: number;
  /** The key was seen at this revision. */
  readonly revision: number;
}

/** What is held by a key with a lease, and whether it still is. */
export class Holding {
  readonly key: Uint8Array;
  readonly token: number;
  readonly lease: Lease;
  readonly signal: AbortSignal;
  readonly #parts: LineParts;
  readonly #ownsLease: boolean;
  readonly #over = new AbortController();
  readonly #claim: Claim;
  readonly #removal: TxnInit;
  readonly #onLeaseEnd = (): void => this.#finish(this.lease.signal.reason as KvError);
  #end: KvError | undefined;

  constructor(parts: LineParts, { lease, ownsLease, key, token, revision }: Held, claim: Claim) {
    this.#parts = parts;
    this.#ownsLease = ownsLease;
    this.#claim = claim;
    this.lease = lease;
    this.key = key;
    this.token = token;
    this.#removal = { compare: [this.fence()], success: [op.delete(key)] };
    this.signal = this.#over.signal;
    // It is given to whatever the holder does meanwhile.
    setMaxListeners(0, this.signal);
    if (lease.signal.aborted) this.#onLeaseEnd();
    else lease.signal.addEventListener('abort', this.#onLeaseEnd, { once: true });
    void this.#guard(revision);
  }

  get isHeld(): boolean {
    return this.#end === undefined && this.lease.isAlive;
  }

  /** Throws why it is not held any more. */
  check(): void {
    if (this.#end === undefined && !this.lease.isAlive) this.lease.check();
    if (this.#end !== undefined) throw this.#end;
  }

  /** Changes the key for as long as it is held. Errors: why it is not held any more, of which nothing was changed. */
  async put(value: Uint8Array, options: CallOptions): Promise<void> {
    this.#mustHold();
    const { key, lease } = this;
    const success = [op.put(key, value, { lease })];
    const done = await this.#parts.txn({ compare: [this.fence()], success }, options);
    if (done.succeeded) return;
    this.#finish(new KvError('KV_NOT_HELD', 'its key was deleted'));
    this.#mustHold();
  }

  #mustHold(): void {
    try {
      this.check();
    } catch (error) {
      throw isKvError(error) ? withOutcome(error, 'not-applied') : error;
    }
  }

  /** Holds as long as this is held. */
  fence(): ReturnType<typeof compare> {
    return compare(this.key, 'create', '=', this.token);
  }

  /**
   * Gives it up: the next one has its turn. A lease of its own is revoked. That it is not held any more is as well.
   *
   * Errors: why it is not certain that it is given up; a lease of its own is not kept alive any more then.
   */
  async leave(options: CallOptions): Promise<void> {
    if (!this.#ownsLease) {
      this.#finish(new KvError('KV_CANCELLED', 'given up by this program'), this.#removal);
      await this.#parts.txn(this.#removal, options);
      this.#claim.removed(this.#removal);
      return;
    }
    this.#finish(new KvError('KV_CANCELLED', 'given up by this program'));
    // The lease takes the key with it; the key alone goes sooner.
    const removed = this.#parts.txn(this.#removal, options).catch((error: unknown) => {
      if (!isKvError(error)) throw error;
    });
    await Promise.all([removed, this.lease.revoke(options)]);
  }

  /** For `await using`: what cannot be given up now goes with its lease. Errors: those of {@link leave} with a lease of the caller's. */
  async dispose(): Promise<void> {
    try {
      await this.leave({});
    } catch (error) {
      if (!isKvError(error) || !this.#ownsLease) throw error;
    }
  }

  /** Somebody may delete the key, although its lease lives. */
  async #guard(revision: number): Promise<void> {
    let startRevision = revision + 1;
    while (this.#end === undefined) {
      try {
        const { signal } = this;
        const options = { startRevision, filters: ['no-put'], signal } as const;
        for await (const event of await this.#parts.watch(this.key, options)) {
          if (event.type !== 'delete') continue;
          this.#finish(new KvError('KV_NOT_HELD', 'its key was deleted'));
          return;
        }
      } catch (error) {
        if (!isKvError(error)) throw error;
      }
      startRevision = (await this.#look()) ?? startRevision;
    }
  }

  /** From where to watch on, after a watch has ended; undefined: not known, or not needed. */
  async #look(): Promise<number | undefined> {
    const { signal } = this;
    if (signal.aborted) return undefined;
    try {
      await pauseFor(PAUSE_MS, signal);
      const found = await this.#parts.txn({ compare: [this.fence()] }, { signal });
      if (found.succeeded) return found.revision + 1;
      this.#finish(new KvError('KV_NOT_HELD', 'its key was deleted'));
    } catch (error) {
      if (!isKvError(error)) throw error;
      // Its lease may be another client's, and live on: nobody looks after the key any more.
      if (error.code === 'KV_CANCELLED' && !signal.aborted) {
        this.#finish(new KvError('KV_CANCELLED', 'the client was closed'), this.#removal);
      }
    }
    return undefined;
  }

  #finish(why: KvError, removal?: TxnInit): void {
    if (this.#end !== undefined) return;
    this.#end = why;
    this.lease.signal.removeEventListener('abort', this.#onLeaseEnd);
    this.#claim.free(removal);
    this.#over.abort(why);
  }
}
