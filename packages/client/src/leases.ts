import { KvError, type LeaseId, NO_LEASE } from '@kvorum/base';
import type { Dispatcher } from './dispatcher.ts';
import { Lease, type LeaseGrantInfo, type LeaseParts } from './lease.ts';
import type { LeaseCalls, Until } from './lease-calls.ts';
import { idOfLease, type LeaseRef } from './lease-ref.ts';
import { CALL_OPTIONS, type CallOptions, checkOptions } from './options.ts';
import { systemTiming } from './timing.ts';

export interface GrantOptions extends CallOptions {
  /** After so many seconds without renewal its keys are deleted. The cluster gives 2 at the least. */
  readonly ttlSeconds: number;
  /** Default: chosen at random. One that you choose may be in use (KV_LEASE_EXISTS). */
  readonly id?: bigint | undefined;
  /** Keep it alive in the background; default true. */
  readonly keepAlive?: boolean | undefined;
}

export interface OpenOptions extends CallOptions {
  /** Keep it alive in the background; default true. */
  readonly keepAlive?: boolean | undefined;
}

/** What the cluster says of a lease. */
export interface LeaseState {
  readonly id: LeaseId;
  /** What is left of its time, seconds. */
  readonly remainingSeconds: number;
  readonly ttlSeconds: number;
  /** What hangs on it, in all shards; empty unless asked for. */
  readonly keys: readonly Uint8Array[];
}

const GRANT_OPTIONS = [...CALL_OPTIONS, 'ttlSeconds', 'id', 'keepAlive'];
const OPEN_OPTIONS = [...CALL_OPTIONS, 'keepAlive'];
const STATE_OPTIONS = [...CALL_OPTIONS, 'keys'];

/** The leases of the cluster: `kv.leases`. */
export class Leases {
  readonly #dispatcher: Dispatcher;
  readonly #calls: LeaseCalls;
  readonly #held = new Set<Lease>();
  readonly #parts: LeaseParts;

  /** @internal */
  constructor(dispatcher: Dispatcher, calls: LeaseCalls) {
    this.#dispatcher = dispatcher;
    this.#calls = calls;
    this.#parts = {
      calls,
      timing: systemTiming,
      until: (options) => this.#until(options),
      onEnd: (lease) => this.#held.delete(lease),
    };
  }

  /**
   * Grants a lease and keeps it alive: `await using lease = await kv.leases.grant({ ttlSeconds: 10 })`. `signal` and `timeoutMs` are those
   * of the grant alone.
   *
   * Errors: KV_LEASE_EXISTS for an id that is in use, KV_LEASE_TTL_TOO_LARGE, KV_NO_SPACE, KV_TOO_MANY_REQUESTS.
   */
  async grant(options: GrantOptions): Promise<Lease> {
    checkOptions(options, GRANT_OPTIONS);
    // Without a type checker nothing may have been given.
    const { ttlSeconds, id, keepAlive = true } = { ...options };
    if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) {
      throw new KvError('KV_INVALID_ARGUMENT', 'ttlSeconds must be a whole number of at least 1');
    }
    const chosen = id === undefined ? undefined : idOfLease(id);
    if (chosen === NO_LEASE) throw new KvError('KV_INVALID_ARGUMENT', 'id 0 means no lease');
    const until = this.#until(options);
    const { value, sentMs } = await this.#calls.grant({ id: chosen, ttlSeconds }, until);
    const { id: granted, ttlSeconds: given } = value;
    return this.#hold({ id: granted, ttlSeconds: given, sinceMs: sentMs }, keepAlive);
  }

  /** Takes on a lease that exists, of this program's earlier life or of another one, and renews it. Errors: KV_LEASE_NOT_FOUND. */
  async open(lease: LeaseRef, options: OpenOptions = {}): Promise<Lease> {
    checkOptions(options, OPEN_OPTIONS);
    const id = idOfLease(lease);
    const { value, sentMs } = await this.#calls.keepAlive(id, this.#until(options));
    const { ttlSeconds } = value;
    if (ttlSeconds === 0) throw new KvError('KV_LEASE_NOT_FOUND');
    return this.#hold({ id, ttlSeconds, sinceMs: sentMs }, options.keepAlive ?? true);
  }

  /** Gives a lease its whole time again, once; answers that time, seconds. Errors: KV_LEASE_NOT_FOUND. */
  async keepAliveOnce(lease: LeaseRef, options: CallOptions = {}): Promise<number> {
    checkOptions(options, CALL_OPTIONS);
    const { value } = await this.#calls.keepAlive(idOfLease(lease), this.#until(options));
    if (value.ttlSeconds === 0) throw new KvError('KV_LEASE_NOT_FOUND');
    return value.ttlSeconds;
  }

  /** Ends a lease, whoever holds it, and deletes its keys in every shard. Errors: KV_LEASE_NOT_FOUND. */
  async revoke(lease: LeaseRef, options: CallOptions = {}): Promise<void> {
    checkOptions(options, CALL_OPTIONS);
    await this.#calls.revoke(idOfLease(lease), this.#until(options));
  }

  /** How long a lease lives on, and with `keys: true` what hangs on it; undefined when there is no such lease. */
  async timeToLive(
    lease: LeaseRef,
    options: CallOptions & { readonly keys?: boolean | undefined } = {},
  ): Promise<LeaseState | undefined> {
    checkOptions(options, STATE_OPTIONS);
    const id = idOfLease(lease);
    const { keys: wantsKeys = false } = options;
    const found = await this.#calls.timeToLive(id, wantsKeys, this.#until(options));
    const { ttlSeconds: remainingSeconds, grantedSeconds: ttlSeconds, keys } = found;
    return remainingSeconds === -1 ? undefined : { id, remainingSeconds, ttlSeconds, keys };
  }

  /** All leases of the cluster, the next to end first. */
  async list(options: CallOptions = {}): Promise<readonly LeaseId[]> {
    checkOptions(options, CALL_OPTIONS);
    return (await this.#calls.list(this.#until(options))).ids;
  }

  /** @internal None is kept alive any more; they end with their time. */
  close(): void {
    const why = new KvError('KV_CANCELLED', 'the client was closed');
    for (const lease of [...this.#held]) lease.finish(why);
  }

  #hold(granted: LeaseGrantInfo, isKeptAlive: boolean): Lease {
    const lease = new Lease(this.#parts, granted, isKeptAlive);
    this.#held.add(lease);
    if (this.#dispatcher.closed) this.close();
    return lease;
  }

  #until(options: CallOptions): Until {
    return { deadlineMs: this.#dispatcher.deadlineOf(options), signal: options.signal };
  }
}
