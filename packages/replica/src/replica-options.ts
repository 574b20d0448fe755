import type { LeaderId, Limits, LogOffset, MemberId, ShardId } from '@kvorum/base';
import type { SlotSpace } from '@kvorum/mvcc';
import type { Clock, Rng, SharedLog, SideImage, StateStore } from '@kvorum/ports';
import type { ReplicaMetrics } from './api.ts';
import type { AutoCompactionPolicy } from './auto-compaction.ts';
import type { GenesisPlan } from './genesis-writer.ts';
import type { LeaseNetwork } from './lease-api.ts';
import type { SlotCounts } from './load-counter.ts';
import type { Paces } from './pace.ts';
import type { SpaceAccount } from './space.ts';

/** Structured log of a replica; fields never hold keys or values. */
export interface ReplicaLogger {
  readonly debug: (fields: object, text: string) => void;
  readonly info: (fields: object, text: string) => void;
  readonly warn: (fields: object, text: string) => void;
  readonly error: (fields: object, text: string) => void;
}

/** This shard's part of the member's peer transport. */
export interface ShardTransport {
  readonly send: (to: MemberId, payload: unknown) => void;
  /** A request to the shard's replica on another member with one answer; rejects when none comes. */
  readonly request: (
    to: MemberId,
    payload: unknown,
    options: { readonly signal: AbortSignal },
  ) => Promise<unknown>;
}

/** The replica's own place among the member's stores; see `StateStores`. */
export interface ReplicaPlace {
  readonly open: () => Promise<StateStore>;
  readonly openSide: () => Promise<StateStore>;
  readonly receiveSide: (layout: Uint8Array, note: Uint8Array) => Promise<SideImage>;
  readonly resumeSide: () => Promise<SideImage | undefined>;
  readonly adoptSide: () => Promise<void>;
  readonly removeSide: () => Promise<void>;
}

export interface ReplicaOptions {
  readonly shard: ShardId;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  /** Of a generation above 0: who begins it. */
  readonly genesis?: GenesisPlan;
  readonly self: MemberId;
  readonly leaderId: LeaderId;
  readonly voters: readonly MemberId[];
  /** 0 = this member should lead the shard when everybody is healthy, 1 = the next best, ... */
  readonly preferenceRank: number;
  readonly log: SharedLog;
  /** The open store; the replica closes it. */
  readonly store: StateStore;
  /** Where its store is, and where a snapshot is put together beside it. */
  readonly place: ReplicaPlace;
  readonly transport: ShardTransport;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly limits: Limits;
  readonly metrics: ReplicaMetrics;
  readonly logger: ReplicaLogger;
  /** How keys lie in slots, for shards whose slots can move; absent: of the meta group. */
  readonly slots?: SlotSpace;
  /** How the leaders of shards reach each other about leases; absent: of the meta group, and of a shard that is alone. */
  readonly leases?: LeaseNetwork;
  /** Of the member: all its replicas share them. */
  readonly paces: Paces;
  /** Where load and size are counted by slot; absent: nowhere. */
  readonly load?: SlotCounts;
  /** Absent: no quota. */
  readonly space?: SpaceAccount;
  /** Absent: history is kept until somebody compacts. */
  readonly autoCompaction?: AutoCompactionPolicy;
  /**
   * With copies outside the members: everything up to this offset is in the newest one (-1 = nothing known). The leader keeps the
   * log above it, so that copy and log together are always everything. Absent: no copies are made.
   */
  readonly copiedOffset?: () => LogOffset;
  readonly sha256: (...parts: readonly Uint8Array[]) => Uint8Array;
}
