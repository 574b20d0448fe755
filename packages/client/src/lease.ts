import { setMaxListeners } from 'node:events';
import { isKvError, KvError, type LeaseId } from '@kvorum/base';
import type { Answered, LeaseCalls, Until } from './lease-calls.ts';
import type { CallOptions } from './options.ts';
import type { Timing } from './timing.ts';

/** Clocks of members may run faster than this one by so much: sooner than the lease can have ended there, it counts as lost here. */
const CLOCK_MARGIN = 0.9;
/** A third of the time between two renewals: two may fail before it is too late. */
const RENEWALS = 3;
/** Leases that were granted together are not renewed together for ever. */
const JITTER = 0.1;
const ATTEMPT_MS_MIN = 250;
const ATTEMPT_MS_MAX = 2500;

/** What a lease needs of its client. */
export interface LeaseParts {
  readonly calls: Pick<LeaseCalls, 'keepAlive' | 'revoke'>;
  readonly timing: Timing;
  readonly until: (options: CallOptions) => Until;
  /** Told once when it is over. */
  readonly onEnd: (lease: Lease) => void;
}

/** How it was granted, or renewed: it lives for `ttlSeconds` from `sinceMs` on at the least. */
export interface LeaseGrantInfo {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
  readonly sinceMs: number;
}

/**
 * A lease that this program holds: keys that were put with it are deleted when it ends. It is kept alive in the background until
 * {@link Lease.revoke}, the end of an `await using` block, or the end of the client.
 *
 * It counts as lost at the latest when it can have ended at the cluster, by this program's own monotonic clock: `signal` is aborted
 * then, and `lost` resolves. A process that was suspended may run for a moment before its timers do: ask {@link Lease.check} before
 * something that must not happen late, or use a fencing token.
 */
export class Lease {
  readonly id: LeaseId;
  /** Aborted when it is over for whatever reason; `signal.reason` is the error that says why. */
  readonly signal: AbortSignal;
  /** Resolves when it is over: KV_LEASE_LOST, or KV_CANCELLED when this program has ended it. Never rejects. */
  readonly lost: Promise<KvError>;
  readonly #parts: LeaseParts;
  readonly #over = new AbortController();
  readonly #isKeptAlive: boolean;
  #ttlSeconds: number;
  #validUntilMs: number;
  #end: KvError | undefined;
  #lastError: KvError | undefined;
  #resolveLost: (why: KvError) => void = () => {};
  #cancelEnd: () => void = () => {};
  #cancelRenewal: () => void = () => {};

  /** @internal Leases come from `kv.leases.grant` and `kv.leases.open`. */
  constructor(parts: LeaseParts, granted: LeaseGrantInfo, isKeptAlive: boolean) {
    this.#parts = parts;
    this.id = granted.id;
    this.#ttlSeconds = granted.ttlSeconds;
    this.#isKeptAlive = isKeptAlive;
    this.signal = this.#over.signal;
    // Every lock that it holds listens.
    setMaxListeners(0, this.signal);
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
    this.#validUntilMs = 0;
    this.#renewed(granted.sinceMs, granted.ttlSeconds);
  }

  /** Its whole time, seconds: what was asked for, or the least that the cluster gives. */
  get ttlSeconds(): number {
    return this.#ttlSeconds;
  }

  /** For how long it lives on at the least, unless somebody revokes it; milliseconds, 0 when it is over. */
  get remainingMs(): number {
    if (this.#end !== undefined) return 0;
    return Math.max(0, this.#validUntilMs - this.#parts.timing.nowMs());
  }

  /** Whether it certainly had not run out when this was asked. */
  get isAlive(): boolean {
    return this.remainingMs > 0;
  }

  /** Throws why it is over, if it is; by the clock, not by timers that may be late. */
  check(): void {
    if (this.#end === undefined && !this.isAlive) this.#expire();
    if (this.#end !== undefined) throw this.#end;
  }

  /** Gives it its whole time again, besides what happens in the background. Errors: KV_LEASE_LOST. */
  async keepAlive(options: CallOptions = {}): Promise<void> {
    this.check();
    await this.#renew(this.#parts.until(options));
    this.check();
  }

  /**
   * Ends it, and deletes its keys in every shard; `signal` is aborted first. That it has ended already is as well. When this rejects
   * it is not kept alive any more either way, and ends with its time.
   */
  async revoke(options: CallOptions = {}): Promise<void> {
    this.finish(new KvError('KV_CANCELLED', 'the lease was revoked by this program'));
    try {
      await this.#parts.calls.revoke(this.id, this.#parts.until(options));
    } catch (error) {
      if (!isKvError(error) || error.code !== 'KV_LEASE_NOT_FOUND') throw error;
    }
  }

  /** Revokes it. An error is not told: it ends with its time. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.revoke().catch((error: unknown) => {
      if (!isKvError(error)) throw error;
    });
  }

  /** @internal Ends what happens in the background, and tells everybody why. */
  finish(why: KvError): void {
    if (this.#end !== undefined) return;
    this.#end = why;
    this.#cancelEnd();
    this.#cancelRenewal();
    this.#over.abort(why);
    this.#resolveLost(why);
    this.#parts.onEnd(this);
  }

  #renewed(sinceMs: number, ttlSeconds: number): void {
    this.#ttlSeconds = ttlSeconds;
    // An answer that was overtaken by a later one says nothing new.
    this.#validUntilMs = Math.max(this.#validUntilMs, sinceMs + ttlSeconds * 1000 * CLOCK_MARGIN);
    this.#lastError = undefined;
    this.#awaitEnd();
    if (this.#isKeptAlive) this.#renewLater();
  }

  #awaitEnd(): void {
    this.#cancelEnd();
    const { timing } = this.#parts;
    this.#cancelEnd = timing.after(this.#validUntilMs - timing.nowMs(), () => {
      if (this.isAlive) this.#awaitEnd();
      else this.#expire();
    });
  }

  #renewLater(): void {
    this.#cancelRenewal();
    const { timing } = this.#parts;
    const fullMs = (this.#ttlSeconds * 1000) / RENEWALS;
    this.#cancelRenewal = timing.after(fullMs * (1 - JITTER * timing.random()), () => {
      const until = { deadlineMs: this.#validUntilMs, signal: this.signal };
      this.#renew(until).catch((error: unknown) => {
        if (!isKvError(error)) throw error;
        this.#lastError = error;
        if (this.#end === undefined) this.#renewLater();
      });
    });
  }

  /** Tries until it is too late, of one member after the other. */
  async #renew(until: Until): Promise<void> {
    const shareMs = (this.#ttlSeconds * 1000) / RENEWALS / 2;
    const attemptMs = Math.min(ATTEMPT_MS_MAX, Math.max(ATTEMPT_MS_MIN, shareMs));
    const { value, sentMs }: Answered<{ readonly ttlSeconds: number }> =
      await this.#parts.calls.keepAlive(this.id, { ...until, attemptMs });
    if (this.#end !== undefined) return;
    if (value.ttlSeconds > 0) this.#renewed(sentMs, value.ttlSeconds);
    else this.finish(new KvError('KV_LEASE_LOST', 'the cluster has no such lease any more'));
  }

  #expire(): void {
    const text = `no renewal for ${Math.round(this.#ttlSeconds * CLOCK_MARGIN)} s`;
    const last = this.#lastError;
    const said = last === undefined ? text : `${text}, last: ${last.message}`;
    this.finish(new KvError('KV_LEASE_LOST', said, last === undefined ? {} : { cause: last }));
  }
}
