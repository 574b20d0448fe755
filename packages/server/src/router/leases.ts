import {
  isKvError,
  KvError,
  type LeaseId,
  leaseId,
  type MemberId,
  type ShardId,
} from '@kvorum/base';
import type { Clock, PeerTransport, Rng } from '@kvorum/ports';
import {
  type LeaseNetwork,
  type LeaseRequest,
  type LeaseTime,
  leaseAnswers,
  type ReplicaPort,
  serveLeaseRequest,
} from '@kvorum/replica';
import { LEASE_HOME, type ShardMap, shardEntryOf } from '@kvorum/shard';
import type { MapEditor } from '../member/map-editor.ts';
import { pause } from '../member/system.ts';
import { accepted, encodeLeaseRequest } from './forward.ts';
import { askLeader, checkWorthRetrying, FIRST_DELAY_MS, nextDelayMs } from './leader-calls.ts';

export interface LeasesParts {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
  /** Errors: KV_UNAVAILABLE before the first one is known. */
  readonly map: () => ShardMap;
  readonly replica: (shard: string) => ReplicaPort | undefined;
  /** Who leads the shard as far as this member knows. */
  readonly leaderOf: (shard: string) => MemberId | undefined;
  /** Why the shard as a whole stands still; undefined while it has, or may get, a leader. */
  readonly shardHalt: (shard: ShardId) => KvError | undefined;
  readonly mapEditor: Pick<MapEditor, 'update'>;
}

export interface Granted {
  readonly id: LeaseId;
  /** What was asked for, or the least that is given. */
  readonly ttlSeconds: number;
  readonly revision: number;
}

/** They change something, or may have when no answer comes. A drop is repeated by whoever drives it, whatever became of it. */
const WRITES: readonly LeaseRequest['kind'][] = ['grant', 'revoke'];

/** A request, and how its answer is read. */
interface Asked<T> {
  readonly request: LeaseRequest;
  readonly parse: (answer: unknown) => T;
}

/**
 * The leases of the cluster, from any member: brings each request to the leader of their home. `revision` in an answer is the home's; with one
 * shard that is the revision of the store.
 *
 * Deadlines are on the member's monotonic clock. Errors of all: KV_DEADLINE, KV_TIMEOUT, KV_UNAVAILABLE, KV_HALTED, KV_LEADER_CHANGED, ...
 */
export class Leases {
  readonly #parts: LeasesParts;

  constructor(parts: LeasesParts) {
    this.#parts = parts;
  }

  /**
   * Grants a lease.
   *
   * @param lease - `id` 0 = one is chosen, positive.
   * Errors: KV_LEASE_EXISTS, KV_LEASE_TTL_TOO_LARGE, KV_NO_SPACE, KV_TOO_MANY_REQUESTS.
   */
  async grant(
    lease: { readonly id: LeaseId; readonly ttlSeconds: number },
    deadlineMs: number,
  ): Promise<Granted> {
    const chosen = lease.id === 0n;
    const id = chosen ? this.#freshId() : lease.id;
    const request = { kind: 'grant', id, ttlSeconds: lease.ttlSeconds } as const;
    const asked = { request, parse: leaseAnswers.time };
    return { id, ...(await this.#ask(LEASE_HOME, asked, deadlineMs)) };
  }

  /** Resolves when no shard has a key of the lease any more. Errors: KV_LEASE_NOT_FOUND. */
  revoke(id: LeaseId, deadlineMs: number): Promise<{ readonly revision: number }> {
    const request = { kind: 'revoke', id } as const;
    const asked = { request, parse: leaseAnswers.revision };
    return this.#ask(LEASE_HOME, asked, deadlineMs);
  }

  /** Gives a lease its whole time again; `ttlSeconds` 0 = there is none. The revision is of the moment before the renewal. */
  keepAlive(
    id: LeaseId,
    deadlineMs: number,
  ): Promise<{ readonly revision: number; readonly ttlSeconds: number }> {
    const request = { kind: 'keep-alive', id } as const;
    const asked = { request, parse: leaseAnswers.time };
    return this.#ask(LEASE_HOME, asked, deadlineMs);
  }

  /** `ttlSeconds` -1 = there is none. */
  timeToLive(
    id: LeaseId,
    { wantsKeys }: { readonly wantsKeys: boolean },
    deadlineMs: number,
  ): Promise<LeaseTime> {
    const request = { kind: 'time-to-live', id, wantsKeys } as const;
    const asked = { request, parse: leaseAnswers.timeToLive };
    return this.#ask(LEASE_HOME, asked, deadlineMs);
  }

  /** The next to expire first. */
  list(
    deadlineMs: number,
  ): Promise<{ readonly revision: number; readonly ids: readonly LeaseId[] }> {
    const asked = {
      request: { kind: 'list' } as const,
      parse: leaseAnswers.list,
    };
    return this.#ask(LEASE_HOME, asked, deadlineMs);
  }

  /** How this member's replicas reach the leaders of other shards. */
  network(): LeaseNetwork {
    const { map, mapEditor } = this.#parts;
    return {
      map,
      readMap: () => mapEditor.update(() => undefined),
      at: (shard) => ({
        permit: (ids, deadlineMs) => {
          const asked = {
            request: { kind: 'permit', ids } as const,
            parse: leaseAnswers.permission,
          };
          return this.#ask(shard, asked, deadlineMs);
        },
        drop: (drop, deadlineMs) => {
          const asked = {
            request: { kind: 'drop', ...drop } as const,
            parse: leaseAnswers.isDone,
          };
          return this.#ask(shard, asked, deadlineMs);
        },
        keys: (id, deadlineMs) => {
          const asked = {
            request: { kind: 'keys', id } as const,
            parse: leaseAnswers.keys,
          };
          return this.#ask(shard, asked, deadlineMs);
        },
      }),
    };
  }

  /** Answers a request that another member sent here. Errors: KV_NOT_LEADER when it is led elsewhere; those of the request. */
  serve(shard: ShardId, request: LeaseRequest, timeoutMs: number): Promise<unknown> {
    const replica = this.#parts.replica(shard);
    if (replica === undefined) return Promise.reject(new KvError('KV_NOT_LEADER'));
    return serveLeaseRequest(replica.leases, request, this.#parts.clock.nowMs() + timeoutMs);
  }

  /** 63 random bits, and never 0. */
  #freshId(): LeaseId {
    const bytes = this.#parts.rng.bytes(8);
    const bits = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
    const id = BigInt.asUintN(63, bits);
    return leaseId(id === 0n ? 1n : id);
  }

  /** Asks the leader of a shard; waits for one until the deadline as long as nothing can have happened. */
  async #ask<T>(shard: ShardId, asked: Asked<T>, deadlineMs: number): Promise<T> {
    const { clock, shardHalt } = this.#parts;
    for (let delayMs = FIRST_DELAY_MS; ; delayMs = nextDelayMs(delayMs)) {
      try {
        return asked.parse(await this.#attempt(shard, asked.request, deadlineMs));
      } catch (error) {
        if (!isKvError(error)) throw error;
        checkWorthRetrying(error, () => shardHalt(shard));
        if (clock.nowMs() + delayMs >= deadlineMs) {
          const text = `leases (shard ${shard}): ${error.message}`;
          throw new KvError('KV_DEADLINE', text, { cause: error, details: { shard } });
        }
        await pause(delayMs);
      }
    }
  }

  async #attempt(shard: ShardId, request: LeaseRequest, deadlineMs: number): Promise<unknown> {
    const { self, clock, map, leaderOf, replica: replicaOf } = this.#parts;
    if (shardEntryOf(map(), shard) === undefined) {
      const hint = `shard ${LEASE_HOME} is the home of all leases; an older version of kvd let it go in a merge`;
      throw new KvError('KV_UNAVAILABLE', `no shard ${shard}`, { details: { shard, hint } });
    }
    const leader = leaderOf(shard);
    const replica = replicaOf(shard);
    if (leader === self && replica !== undefined) {
      return serveLeaseRequest(replica.leases, request, deadlineMs);
    }
    if (leader === undefined || leader === self) {
      throw new KvError('KV_NO_LEADER', undefined, { details: { shard } });
    }
    const timeoutMs = Math.max(1, Math.ceil(deadlineMs - clock.nowMs()));
    const message = encodeLeaseRequest(shard, request, timeoutMs);
    const readOnly = !WRITES.includes(request.kind);
    return accepted(await askLeader(this.#parts, { leader, shard, message, timeoutMs, readOnly }));
  }
}
