import type { LeaseId, ShardId } from '@kvorum/base';
import type { AdmittedLease, LeasePermit } from '@kvorum/mvcc';
import type { ShardMap } from '@kvorum/shard';

/** What a home's leader lets another shard admit. */
export interface LeasePermission {
  readonly permit: LeasePermit;
  /** Those of the leases asked for that can be used. */
  readonly leases: readonly AdmittedLease[];
}

/** What a home's leader has other shards drop. */
export interface LeaseDrop {
  readonly ids: readonly LeaseId[];
  /** Of that leader. */
  readonly term: number;
  /** Permits of that term with a lower number are void from then on. */
  readonly floor: number;
}

/** The remaining time of a lease; `ttlSeconds` -1 = there is none. */
export interface LeaseTime {
  /** Of the leases' home. */
  readonly revision: number;
  readonly ttlSeconds: number;
  /** 0 when there is none. */
  readonly grantedSeconds: number;
  /** Ascending, of all shards; empty when not asked for. */
  readonly keys: readonly Uint8Array[];
}

/**
 * The leases of one shard, as its leader serves them. The first five are for the home of all leases.
 *
 * Errors of all: KV_NOT_LEADER, KV_NO_LEADER, KV_HALTED, KV_STOPPED; KV_TIMEOUT and those of any write or read. Deadlines are on the
 * member's monotonic clock.
 */
export interface ReplicaLeases {
  /** Errors: KV_LEASE_EXISTS, KV_LEASE_TTL_TOO_LARGE, KV_NO_SPACE, KV_TOO_MANY_REQUESTS. Resolves with the time to live that it got. */
  grant(
    lease: { readonly id: LeaseId; readonly ttlSeconds: number },
    deadlineMs: number,
  ): Promise<{ readonly revision: number; readonly ttlSeconds: number }>;
  /** Resolves when no shard has a key of the lease any more. Errors: KV_LEASE_NOT_FOUND. */
  revoke(id: LeaseId, deadlineMs: number): Promise<{ readonly revision: number }>;
  /** Gives a lease its whole time again; `ttlSeconds` 0 = there is none. */
  keepAlive(
    id: LeaseId,
    deadlineMs: number,
  ): Promise<{ readonly revision: number; readonly ttlSeconds: number }>;
  timeToLive(id: LeaseId, wantsKeys: boolean, deadlineMs: number): Promise<LeaseTime>;
  /** The next to expire first. */
  list(
    deadlineMs: number,
  ): Promise<{ readonly revision: number; readonly ids: readonly LeaseId[] }>;
  /** Asked by the leader of a shard that is to take keys with these leases. */
  permit(ids: readonly LeaseId[], deadlineMs: number): Promise<LeasePermission>;
  /** Asked by the home's leader: false = something is left, ask again later. Errors: KV_DEPOSED when it is that no more. */
  drop(drop: LeaseDrop, deadlineMs: number): Promise<boolean>;
  /** Asked by the home's leader: the keys of a lease here, ascending. */
  keys(id: LeaseId, deadlineMs: number): Promise<readonly Uint8Array[]>;
}

/** How the leaders of shards reach each other about leases; given by the member. Errors: those of {@link ReplicaLeases}. */
export interface LeaseNetwork {
  /** The newest map this member knows. */
  readonly map: () => ShardMap | undefined;
  /** The map as a linearizable reading finds it. */
  readonly readMap: () => Promise<ShardMap>;
  /** The leases of a shard at its leader, wherever that is. */
  readonly at: (shard: ShardId) => Pick<ReplicaLeases, 'permit' | 'drop' | 'keys'>;
}
