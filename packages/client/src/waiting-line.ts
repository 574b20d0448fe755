import {
  concatBytes,
  equalBytes,
  fromUtf8,
  isKvError,
  KvError,
  prefixEnd,
  type RangeRequest,
  type TxnOp,
  toHex,
  utf8,
} from '@kvorum/base';
import type { TxnOpResult, TxnResult } from './answer.ts';
import type { Entry } from './entry.ts';
import { type Claim, Holding, type LineParts } from './holding.ts';
import { type Bytes, toBytes } from './key-range.ts';
import { Lease } from './lease.ts';
import { linkSignals } from './linked-signal.ts';
import type { CallOptions } from './options.ts';
import { isPassing, type Persistence, persistently } from './persistently.ts';
import { pauseFor, withOutcome } from './question.ts';
import { compare, op, type TxnInit } from './txn.ts';

/** Of a lease that is made for one lock or leadership. */
const TTL_SECONDS = 10;
/** How long a caller that gave up waits for its place to be given up too. */
const LEAVE_MS = 1000;
const PAUSE_MS = 50;

export interface LineOptions extends CallOptions {
  /** Default: a lease of its own, revoked with it. One that you keep may hold several. */
  readonly lease?: Lease | undefined;
  /** Of its own lease, default 10: so long it stays taken at the most when this program dies. */
  readonly ttlSeconds?: number | undefined;
}

/** By name, the lines that a lease is in, with `undefined`, or may have left a key in, with what removes that. */
const taken = new WeakMap<Lease, Map<string, TxnInit | undefined>>();

/** The oldest key directly below a directory; the shard of the directory answers alone, see `routeRequest`. */
function oldestOf(directory: Uint8Array): RangeRequest {
  const rangeEnd = prefixEnd(directory);
  return {
    ...{ op: 'range', key: directory, rangeEnd, limit: 1 },
    ...{ sortTarget: 'create', sortOrder: 'ascend' },
  };
}

/** The first entry of a range in a transaction's answer. */
export function firstEntry(result: TxnOpResult | undefined): Entry | undefined {
  return result?.op === 'range' ? result.entries[0] : undefined;
}

/** A directory's oldest key, with the revision of the reading. */
export interface Standing {
  readonly entry: Entry | undefined;
  readonly revision: number;
}

/** One program's place in a line. */
interface Place {
  readonly lease: Lease;
  readonly ownsLease: boolean;
  readonly key: Uint8Array;
}

/** A place with the revision that orders it. */
interface Entered {
  readonly created: number;
  readonly isFirst: boolean;
  readonly revision: number;
}

/**
 * Those who want what only one can have at a time: keys `name/<lease in hex>` of one directory, and the one created first has its turn.
 * Whoever waits watches the key before its own. The same keys as those of etcd's clients, with whom it is shared.
 * Source: etcd client/v3/concurrency (mutex.go, election.go, key.go).
 */
export class WaitingLine {
  readonly name: Uint8Array;
  readonly directory: Uint8Array;
  readonly #parts: LineParts;

  /** Errors: KV_EMPTY_KEY. */
  constructor(parts: LineParts, name: Bytes) {
    this.#parts = parts;
    this.name = toBytes(name);
    if (this.name.length === 0) throw new KvError('KV_EMPTY_KEY');
    this.directory = concatBytes(this.name, utf8('/'));
  }

  /**
   * Waits for its turn; undefined when it `isImpatient` and somebody else has it. Errors: KV_DEADLINE, KV_CANCELLED, KV_LEASE_LOST,
   * KV_NOT_HELD when somebody deletes its key. Whatever ends it, its place is given up, or goes with its lease.
   */
  async enter(
    value: Uint8Array,
    options: LineOptions,
    { isImpatient }: { readonly isImpatient: boolean },
  ): Promise<Holding | undefined> {
    const { timeoutMs = Number.POSITIVE_INFINITY } = options;
    const deadlineMs = this.#parts.nowMs() + timeoutMs;
    const place = await this.#place(options, timeoutMs);
    const { claim, removal } = this.#claim(place.lease);
    const { signal, release } = linkSignals([options.signal, place.lease.signal]);
    try {
      const { nowMs, timeoutMs: attemptMs } = this.#parts;
      const until = { deadlineMs, signal, nowMs, attemptMs };
      if (removal !== undefined) await this.#removed(removal, until);
      const entered = await this.#join(place, value, until);
      if (!entered.isFirst && isImpatient) {
        await this.#leave(place, claim);
        return undefined;
      }
      const revision = entered.isFirst
        ? entered.revision
        : await this.#turn(place, entered.created, until);
      return new Holding(this.#parts, { ...place, token: entered.created, revision }, claim);
    } catch (error) {
      const isLeft = await this.#leave(place, claim);
      throw this.#explained(error, place, isLeft);
    } finally {
      release();
    }
  }

  /** Who has it now. */
  async first(options: CallOptions): Promise<Standing> {
    const found = await this.#parts.txn({ success: [oldestOf(this.directory)] }, options);
    return { entry: firstEntry(found.responses[0]), revision: found.revision };
  }

  async #place(options: LineOptions, timeoutMs: number): Promise<Place> {
    const { lease } = options;
    if (lease !== undefined && !(lease instanceof Lease)) {
      throw new KvError('KV_INVALID_ARGUMENT', 'lease must be a Lease: see kv.leases.open');
    }
    lease?.check();
    const held = lease ?? (await this.#ownLease(options, timeoutMs));
    const key = concatBytes(this.directory, utf8(BigInt.asUintN(64, held.id).toString(16)));
    return { lease: held, ownsLease: lease === undefined, key };
  }

  async #ownLease({ ttlSeconds = TTL_SECONDS, signal }: LineOptions, ms: number): Promise<Lease> {
    const timeoutMs = Math.min(ms, this.#parts.timeoutMs);
    try {
      return await this.#parts.leases.grant({ ttlSeconds, signal, timeoutMs });
    } catch (error) {
      throw isKvError(error) ? this.#late(error, 'not-applied') : error;
    }
  }

  /** Notes that the lease is in this line; `removal` = of the key that it may have left there. */
  #claim(lease: Lease): { readonly claim: Claim; readonly removal: TxnInit | undefined } {
    const names = taken.get(lease) ?? new Map<string, TxnInit | undefined>();
    const name = toHex(this.name);
    const removal = names.get(name);
    if (names.has(name) && removal === undefined) {
      const hint = 'use another lease, or none: each lock and leadership gets its own then';
      const text = `this lease holds "${fromUtf8(this.name)}" already, or waits for it`;
      throw new KvError('KV_INVALID_ARGUMENT', text, { details: { hint } });
    }
    taken.set(lease, names.set(name, undefined));
    const free = (left?: TxnInit): void => {
      if (left === undefined) names.delete(name);
      else names.set(name, left);
    };
    const removed = (done: TxnInit): void => {
      if (names.get(name) === done) names.delete(name);
    };
    return { claim: { free, removed }, removal };
  }

  /** The key that this lease had here before: with it, it would have the old token too. */
  async #removed(removal: TxnInit, until: Persistence): Promise<void> {
    const { signal } = until;
    await persistently((timeoutMs) => this.#parts.txn(removal, { signal, timeoutMs }), until);
  }

  /** Repeated whatever became of it: the key is this lease's alone, and made only if it is not there. */
  async #join({ lease, key }: Place, value: Uint8Array, until: Persistence): Promise<Entered> {
    const oldest = oldestOf(this.directory);
    const request = {
      compare: [compare(key, 'create', '=', 0)],
      success: [op.put(key, value, { lease }), oldest],
      failure: [op.get(key), oldest],
    };
    const { signal } = until;
    const joined = await persistently((timeoutMs) => {
      return this.#parts.txn(request, { signal, timeoutMs });
    }, until);
    const { revision } = joined;
    const own = joined.succeeded ? undefined : firstEntry(joined.responses[0]);
    const created = own?.createRevision ?? revision;
    if (own !== undefined && !equalBytes(own.value, value)) await this.#rewrite(own, value, lease);
    const owner = firstEntry(joined.responses[1]);
    const isFirst = owner === undefined || owner.createRevision === created;
    return { created, isFirst, revision };
  }

  /** A key that this lease has left from an earlier life gets the new value. */
  async #rewrite(own: Entry, value: Uint8Array, lease: Lease): Promise<void> {
    const { key, createRevision } = own;
    await this.#parts.txn(
      {
        compare: [compare(key, 'create', '=', createRevision)],
        success: [op.put(key, value, { lease })],
      },
      { signal: lease.signal },
    );
  }

  /** Waits until nobody is before it; answers the revision at which that was seen. */
  async #turn({ key }: Place, created: number, until: Persistence): Promise<number> {
    const before: TxnOp = {
      ...oldestOf(this.directory),
      sortOrder: 'descend',
      maxCreateRevision: created - 1,
    };
    const { signal } = until;
    for (;;) {
      const found = await persistently((timeoutMs) => {
        return this.#parts.txn({ success: [op.get(key), before] }, { signal, timeoutMs });
      }, until);
      const seen = firstEntry(found.responses[0])?.createRevision ?? 0;
      if (seen !== created) {
        const at = `created at ${created}, seen as created at ${seen} at revision ${found.revision}`;
        throw new KvError('KV_NOT_HELD', `the key that waited was deleted (${at})`);
      }
      const predecessor = firstEntry(found.responses[1]);
      if (predecessor === undefined) return found.revision;
      await this.#deleted(predecessor, found, until);
    }
  }

  /** Until a key is deleted, or it has to be looked at again. */
  async #deleted({ key }: Entry, { revision }: TxnResult, until: Persistence): Promise<void> {
    const late = new AbortController();
    const leftMs = Math.min(until.deadlineMs - until.nowMs(), 2 ** 31 - 1);
    const timer = setTimeout(() => late.abort(), Math.max(0, leftMs));
    const { signal, release } = linkSignals([until.signal, late.signal]);
    try {
      const options = { startRevision: revision + 1, filters: ['no-put'], signal } as const;
      const watch = await this.#parts.watch(key, options);
      for await (const event of watch) if (event.type === 'delete') return;
    } catch (error) {
      const isOver = until.signal.aborted || !isKvError(error);
      if (isOver || (error.code !== 'KV_COMPACTED' && !isPassing(error) && !late.signal.aborted)) {
        throw error;
      }
      if (!late.signal.aborted) await pauseFor(PAUSE_MS, until.signal);
    } finally {
      clearTimeout(timer);
      release();
    }
  }

  /** Gives its place up, as far as that can be done soon; whether it certainly has. */
  async #leave({ key, lease, ownsLease }: Place, claim: Claim): Promise<boolean> {
    const options = { timeoutMs: LEAVE_MS };
    const removal = { success: [op.delete(key)] };
    try {
      await this.#parts.txn(removal, options);
      if (ownsLease) await lease.revoke(options);
      claim.free();
      return true;
    } catch (error) {
      if (!isKvError(error)) throw error;
      const isLeft = !ownsLease && error.code === 'KV_LEASE_NOT_FOUND';
      claim.free(isLeft || ownsLease ? undefined : removal);
      // It is not kept alive any more, and takes the key with it.
      if (ownsLease) lease.finish(error);
      return isLeft;
    }
  }

  #explained(error: unknown, { lease, ownsLease }: Place, isLeft: boolean): unknown {
    if (!isKvError(error)) return error;
    const lost: unknown = lease.signal.reason;
    const isLost = isKvError(lost) && lost.code === 'KV_LEASE_LOST';
    if (isLost) return lost;
    return this.#late(error, isLeft || ownsLease ? 'not-applied' : 'unknown');
  }

  /** Time was up: whatever was being waited for then, it was not acquired. */
  #late(error: KvError, outcome: KvError['outcome']): KvError {
    if (error.code !== 'KV_DEADLINE' && error.code !== 'KV_TIMEOUT') {
      return withOutcome(error, outcome);
    }
    const text = `"${fromUtf8(this.name)}" was not acquired in time`;
    return new KvError('KV_DEADLINE', text, { cause: error, outcome });
  }
}
