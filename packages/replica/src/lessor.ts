import { compareBytes, isKvError, KvError, type LeaseId, META_SHARD } from '@kvorum/base';
import { LeaseQueue, type LeaseRow, type RevokeStage } from '@kvorum/mvcc';
import { LEASE_HOME, movesOf, type ShardMap } from '@kvorum/shard';
import type { LeasePermission, LeaseTime, ReplicaLeases } from './lease-api.ts';
import { type LeaseHost, logLeases } from './lease-host.ts';
import { pause } from './slot-move-driver.ts';

/** Between two looks at what has expired, and how many leases one look takes. */
const SCAN_MS = 500;
const EXPIRIES_MAX = 500;
/** After a pass over the shards that some of them could not complete. */
const RETRY_MS = 100;
/** A command that finds no leader, or no log, is sent again. */
const STEP_MS = 5000;

/** Somebody who waits for a lease to be gone. */
interface Waiter {
  readonly deadlineMs: number;
  readonly settle: (error: KvError | undefined) => void;
}

/** A lease that ends, and those who wait for it. */
interface Ending {
  readonly ttlSeconds: number;
  readonly waiters: Waiter[];
  /**
   * `decided`: by this leader alone, it may not come to that; `alone`: a step that asks no other shard is under way, or was; `logged`: the
   * home's log has it, the lease will never be used again.
   */
  stage: 'decided' | 'alone' | 'logged';
}

/** One leadership over the home. */
interface Reign {
  readonly term: number;
  readonly queue: LeaseQueue;
  /** Leases that end: their keys may still be there. */
  readonly ending: Map<LeaseId, Ending>;
  /** Number of the newest permit that names the lease. */
  readonly permits: Map<LeaseId, number>;
  permitsGiven: number;
  isDriving: boolean;
  scannedMs: number;
}

/**
 * Keeps time for the leases of the cluster on the leader of their home, and for none while it does not lead.
 *
 * Only this leader runs clocks. What it decides counts once its log has accepted it: a leader that was deposed can revoke nothing,
 * whatever it believes. A new one gives every lease its whole time again and an election timeout more, since it cannot know of the
 * renewals before it; those are not replicated, and each is answered only after a round that proves the leadership.
 *
 * A lease that ends is marked in the home's log first; then every other shard drops it; when all have, within one version of the map, its
 * row goes. Slots that change hands carry keys from shard to shard: a pass that a switch of the map has met counts for nothing.
 */
export class Lessor
  implements
    Pick<ReplicaLeases, 'grant' | 'revoke' | 'keepAlive' | 'timeToLive' | 'list' | 'permit'>
{
  readonly #host: LeaseHost;
  #reign: Reign | undefined;

  constructor(host: LeaseHost) {
    this.#host = host;
  }

  get count(): number {
    const reign = this.#reign;
    return reign === undefined ? 0 : reign.queue.size + reign.ending.size;
  }

  /** This replica leads from now on, in this term, and has applied everything before; these are the leases. */
  lead(term: number, rows: readonly LeaseRow[]): void {
    const { clock, limits } = this.#host;
    const nowMs = clock.nowMs();
    const queue = new LeaseQueue();
    const ending = new Map<LeaseId, Ending>();
    for (const { id, ttlSeconds, isEnding } of rows) {
      if (isEnding === true) endingOf(ending, { id, ttlSeconds }).stage = 'logged';
      else queue.set(id, ttlSeconds, nowMs + ttlSeconds * 1000 + limits.electionMsMax);
    }
    const permits = new Map<LeaseId, number>();
    const counters = { permitsGiven: 0, isDriving: false, scannedMs: nowMs };
    this.#reign = { term, queue, ending, permits, ...counters };
    this.#drive(this.#reign);
  }

  /** It leads no more: what was decided and not logged never will be. */
  stop(): void {
    const reign = this.#reign;
    this.#reign = undefined;
    if (reign === undefined) return;
    for (const { waiters } of reign.ending.values()) {
      for (const waiter of waiters) waiter.settle(new KvError('KV_LEADER_CHANGED'));
    }
  }

  /** The row of a lease as it is applied; undefined = it is gone. */
  applied(id: LeaseId, row: LeaseRow | undefined): void {
    const reign = this.#reign;
    if (reign === undefined) return;
    const { queue, ending, permits } = reign;
    if (row === undefined) {
      queue.remove(id);
      permits.delete(id);
      settle(ending.get(id)?.waiters);
      ending.delete(id);
    } else if (row.isEnding === true) {
      queue.remove(id);
      endingOf(ending, row).stage = 'logged';
    } else if (!ending.has(id)) {
      queue.set(id, row.ttlSeconds, this.#host.clock.nowMs() + row.ttlSeconds * 1000);
    }
  }

  tick(nowMs: number): void {
    const reign = this.#reign;
    if (reign === undefined) return;
    for (const { waiters } of reign.ending.values()) expire(waiters, nowMs);
    if (nowMs - reign.scannedMs < SCAN_MS) return;
    reign.scannedMs = nowMs;
    const expired = reign.queue.takeExpired(nowMs, EXPIRIES_MAX);
    for (const lease of expired) endingOf(reign.ending, lease);
    this.#host.metrics.leases.expired(expired.length);
    this.#drive(reign);
  }

  async grant(
    { id, ttlSeconds: wanted }: Parameters<ReplicaLeases['grant']>[0],
    deadlineMs: number,
  ): ReturnType<ReplicaLeases['grant']> {
    const { limits } = this.#host;
    if (this.#current().ending.has(id)) {
      // Logged behind the step that lets the old lease go it would succeed, and a repetition of that step would end the new one.
      await this.#confirmed(deadlineMs);
      throw new KvError('KV_LEASE_EXISTS');
    }
    if (wanted > limits.leaseSecondsMax) throw new KvError('KV_LEASE_TTL_TOO_LARGE');
    const { count } = this;
    if (count >= limits.leasesMax) {
      const details = { limit: limits.leasesMax, actual: count };
      throw new KvError('KV_TOO_MANY_REQUESTS', 'too many leases', { details });
    }
    const ttlSeconds = Math.max(wanted, limits.leaseSecondsMin);
    const command = { op: 'lease', action: 'grant', id, ttlSeconds } as const;
    const { revision } = await logLeases(this.#host, command, deadlineMs);
    return { revision, ttlSeconds };
  }

  async revoke(id: LeaseId, deadlineMs: number): ReturnType<ReplicaLeases['revoke']> {
    let reign = this.#current();
    // That there is none has to be proven; that there is one the log does.
    if (reign.queue.get(id) === undefined) reign = await this.#confirmed(deadlineMs);
    const { queue, ending } = reign;
    const lease = ending.get(id) ?? queue.get(id);
    if (lease === undefined) throw new KvError('KV_LEASE_NOT_FOUND');
    queue.remove(id);
    const { waiters } = endingOf(ending, { id, ttlSeconds: lease.ttlSeconds });
    await new Promise<void>((resolve, reject) => {
      const done = (error: KvError | undefined): void =>
        error === undefined ? resolve() : reject(error);
      waiters.push({ deadlineMs, settle: done });
      this.#drive(reign);
    });
    return { revision: this.#host.revision() };
  }

  async keepAlive(id: LeaseId, deadlineMs: number): ReturnType<ReplicaLeases['keepAlive']> {
    const { queue } = await this.#confirmed(deadlineMs);
    // Before the renewal: what the client may read at this revision is not later than what it has renewed.
    const revision = this.#host.revision();
    const nowMs = this.#host.clock.nowMs();
    const lease = queue.get(id);
    if (lease === undefined || lease.expiresAtMs <= nowMs) return { revision, ttlSeconds: 0 };
    queue.set(id, lease.ttlSeconds, nowMs + lease.ttlSeconds * 1000);
    this.#host.metrics.leases.renewed();
    return { revision, ttlSeconds: lease.ttlSeconds };
  }

  async timeToLive(id: LeaseId, wantsKeys: boolean, deadlineMs: number): Promise<LeaseTime> {
    const reign = await this.#confirmed(deadlineMs);
    const revision = this.#host.revision();
    const isKnown = (): boolean => reign.queue.get(id) !== undefined || reign.ending.has(id);
    const keys = wantsKeys && isKnown() ? await this.#keys(reign, id, deadlineMs) : [];
    // Whoever is told that it is gone may count on its keys to be gone: until then it has no time left.
    const ending = reign.ending.get(id);
    if (ending !== undefined) {
      return { revision, ttlSeconds: 0, grantedSeconds: ending.ttlSeconds, keys };
    }
    const lease = reign.queue.get(id);
    if (lease === undefined) return { revision, ttlSeconds: -1, grantedSeconds: 0, keys: [] };
    const leftMs = Math.max(0, lease.expiresAtMs - this.#host.clock.nowMs());
    const ttlSeconds = Math.floor(leftMs / 1000);
    return { revision, ttlSeconds, grantedSeconds: lease.ttlSeconds, keys };
  }

  async list(deadlineMs: number): ReturnType<ReplicaLeases['list']> {
    const { queue, ending } = await this.#confirmed(deadlineMs);
    const ids = [...ending.keys(), ...queue.inOrder().map(({ id }) => id)];
    return { revision: this.#host.revision(), ids };
  }

  async permit(ids: readonly LeaseId[], deadlineMs: number): Promise<LeasePermission> {
    const reign = await this.#confirmed(deadlineMs);
    reign.permitsGiven += 1;
    const seq = reign.permitsGiven;
    const leases = ids.flatMap((id) => {
      // As at home it can be used until the log has its end: what this leader has only decided may not come about.
      const ending = reign.ending.get(id);
      const lease = ending ?? reign.queue.get(id);
      const isOver = ending !== undefined && ending.stage !== 'decided';
      if (lease === undefined || isOver) return [];
      reign.permits.set(id, seq);
      return [{ id, ttlSeconds: lease.ttlSeconds }];
    });
    return { permit: { term: reign.term, seq }, leases };
  }

  #current(): Reign {
    if (this.#reign === undefined) throw this.#host.notLeading();
    return this.#reign;
  }

  /** The reign, proven by a round that began after the call. */
  async #confirmed(deadlineMs: number): Promise<Reign> {
    const reign = this.#current();
    await this.#host.confirm(deadlineMs);
    // The proof may have come from the next leader.
    if (this.#reign !== reign) throw this.#host.notLeading();
    return reign;
  }

  /** The keys of a lease in all shards, ascending. Errors: those of the shards, KV_REQUEST_TOO_LARGE. */
  async #keys(reign: Reign, id: LeaseId, deadlineMs: number): Promise<readonly Uint8Array[]> {
    const { leases, keysOf } = this.#host;
    if (leases === undefined || isAlone(reign, [id], leases.map())) return keysOf(id);
    const lists: (readonly Uint8Array[])[] = [];
    let isSettled = false;
    for (let asked: number | undefined; !isSettled; ) {
      const map = await leases.readMap();
      const others = otherShards(map).map((shard) => leases.at(shard).keys(id, deadlineMs));
      lists.push(...(await Promise.all([keysOf(id), ...others])));
      const { version } = await leases.readMap();
      // One shard may be asked before it takes slots, and the other one after it let them go; but not twice by one map.
      const isQuiet = movesOf(map).length === 0 || asked === map.version;
      isSettled = isQuiet && version === map.version;
      asked = map.version;
    }
    const keys = lists.flat().sort(compareBytes);
    return keys.filter((key, i) => i === 0 || compareBytes(key, keys[i - 1] as Uint8Array) !== 0);
  }

  #drive(reign: Reign): void {
    if (reign.isDriving || reign.ending.size === 0) return;
    reign.isDriving = true;
    this.#passes(reign)
      .catch((error: unknown) => {
        if (this.#reign !== reign) return;
        const { logger } = this.#host;
        // It is taken up again at the next look.
        if (isKvError(error)) logger.info({ code: error.code }, 'leases end later');
        else logger.error({ detail: String(error) }, 'ending leases broke');
      })
      .finally(() => {
        reign.isDriving = false;
      });
  }

  async #passes(reign: Reign): Promise<void> {
    while (this.#reign === reign && reign.ending.size > 0) {
      const ids = [...reign.ending.keys()].slice(0, EXPIRIES_MAX);
      if (await this.#pass(reign, ids)) continue;
      // Others are not kept waiting by what cannot end yet.
      for (const id of ids) moveToEnd(reign.ending, id);
      await pause(this.#host.clock, RETRY_MS);
    }
  }

  /** True: the leases are gone. Errors: those of the steps. */
  async #pass(reign: Reign, ids: readonly LeaseId[]): Promise<boolean> {
    const { leases } = this.#host;
    if (leases === undefined || isAlone(reign, ids, leases.map())) {
      for (const id of ids) holdPermits(reign.ending.get(id));
      const isGone = await this.#step(reign, ids, 'alone');
      if (isGone || leases === undefined) return isGone;
    }
    const map = await leases.readMap();
    const { term } = reign;
    const isHereDone = await this.#step(reign, ids, 'begin');
    // Steps of an earlier pass are decided by now. What is gone may have been granted anew since; and what found no room in the log is
    // not ending, and may never be.
    const left = ids.filter((id) => reign.ending.get(id)?.stage === 'logged');
    if (left.length === 0) return isHereDone;
    // Of this term every permit that may still be on its way is void then; those of earlier terms are by the term.
    const floor = left.reduce((most, id) => Math.max(most, (reign.permits.get(id) ?? -1) + 1), 0);
    const deadlineMs = this.#host.clock.nowMs() + STEP_MS;
    const drop = { ids: left, term, floor };
    const dropped = await allDone(
      otherShards(map).map((shard) => leases.at(shard).drop(drop, deadlineMs)),
    );
    const { version } = await leases.readMap();
    if (!isHereDone || !dropped || version !== map.version) return false;
    return this.#step(reign, left, 'finish');
  }

  /** One step at the home itself; those that are gone already are done. */
  async #step(reign: Reign, wanted: readonly LeaseId[], stage: RevokeStage): Promise<boolean> {
    // A step that was decided in one reign must not be logged in another.
    if (this.#reign !== reign) throw this.#host.notLeading();
    const { term } = reign;
    const ids = wanted.filter((id) => reign.ending.has(id));
    if (ids.length === 0) return true;
    const deadlineMs = this.#host.clock.nowMs() + STEP_MS;
    const command = { op: 'lease', action: 'revoke', ids, stage, term } as const;
    try {
      const { isDone } = await logLeases(this.#host, command, deadlineMs);
      return isDone;
    } catch (error) {
      if (!isKvError(error) || error.code !== 'KV_LEASE_NOT_FOUND') throw error;
      for (const id of ids) {
        settle(reign.ending.get(id)?.waiters);
        reign.ending.delete(id);
      }
      return true;
    }
  }
}

/** The lease among those that end, which it joins when it is not one of them. */
function endingOf(
  ending: Map<LeaseId, Ending>,
  { id, ttlSeconds }: Pick<LeaseRow, 'id' | 'ttlSeconds'>,
): Ending {
  const known = ending.get(id);
  if (known !== undefined) return known;
  const fresh: Ending = { ttlSeconds, waiters: [], stage: 'decided' };
  ending.set(id, fresh);
  return fresh;
}

/**
 * Whether no other shard can have keys of these leases, or come to have any, unless the home has given slots away. The map may be an old
 * one: a shard that it lacks was made empty, and takes no key before it has asked for a permit.
 */
function isAlone(reign: Reign, ids: readonly LeaseId[], map: ShardMap | undefined): boolean {
  return otherShards(map).length === 0 && !ids.some((id) => reign.permits.has(id));
}

function holdPermits(lease: Ending | undefined): void {
  if (lease?.stage === 'decided') lease.stage = 'alone';
}

/** Whether all say so. None is under way any more when this fails: what comes late may find a lease that was granted anew. */
async function allDone(steps: readonly Promise<boolean>[]): Promise<boolean> {
  await Promise.allSettled(steps);
  return (await Promise.all(steps)).every((isDone) => isDone);
}

function otherShards(map: ShardMap | undefined): ShardMap['shards'][number]['id'][] {
  const ids = map?.shards.map(({ id }) => id) ?? [];
  return ids.filter((id) => id !== META_SHARD && id !== LEASE_HOME);
}

/** Who asked first has revoked it; the others come too late. */
function settle(waiters: readonly Waiter[] | undefined): void {
  for (const [i, waiter] of (waiters ?? []).entries()) {
    waiter.settle(i === 0 ? undefined : new KvError('KV_LEASE_NOT_FOUND'));
  }
}

function expire(waiters: Waiter[], nowMs: number): void {
  for (let i = waiters.length - 1; i >= 0; i -= 1) {
    if ((waiters[i] as Waiter).deadlineMs > nowMs) continue;
    const [waiter] = waiters.splice(i, 1);
    waiter?.settle(new KvError('KV_TIMEOUT', 'the lease is being revoked'));
  }
}

function moveToEnd(ending: Map<LeaseId, Ending>, id: LeaseId): void {
  const lease = ending.get(id);
  if (lease === undefined) return;
  ending.delete(id);
  ending.set(id, lease);
}
