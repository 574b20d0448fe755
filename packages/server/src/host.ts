import type { KvError, Limits, MemberId, ShardId } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { Replica, ReplicaPort, SlotMover } from '@kvorum/replica';
import type { ShardMap } from '@kvorum/shard';
import type { HandOvers, MemberInfo, MoveInfo } from '@kvorum/wire';
import type { MemberAuth } from './auth/member-auth.ts';
import type { ClientMemory } from './client-memory.ts';
import type { Logger } from './logger.ts';
import type { MapEditor } from './member/map-editor.ts';
import type { MemberAdmin } from './member/member-admin.ts';
import type { ShardRecovery } from './member/shard-recovery.ts';
import type { SlotLoads } from './member/slot-loads.ts';
import type { CopyStatus } from './member/snapshot-copies.ts';
import type { MemberMetrics } from './metrics.ts';
import type { Leases } from './router/leases.ts';
import type { Router } from './router/router.ts';
import type { ShardWatches } from './router/shard-watches.ts';

/** One line of /readyz?verbose. */
export interface ReadinessCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** What the client-facing side sees of a running member. */
export interface Host {
  readonly self: MemberId;
  readonly clusterId: string;
  readonly memberId: string;
  readonly name: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly metrics: MemberMetrics;
  /** What clients make this member hold. */
  readonly clientMemory: ClientMemory;
  readonly router: Router;
  /** Of the whole cluster. */
  readonly leases: Leases;
  /** Of every shard, whether it is here or at other members. */
  readonly watches: ShardWatches;
  /** Other members that have a shard, or should have it by the map; the leader first. */
  holders(shard: string): readonly MemberId[];
  /** One question to another member. Errors: KV_UNAVAILABLE, KV_TOO_MANY_REQUESTS, the time-out. */
  ask(member: MemberId, payload: unknown, timeoutMs: number): Promise<unknown>;
  /** Who may do what; every interface asks it before it serves anybody. */
  readonly auth: MemberAuth;
  /** Changes the members, on behalf of an operator. */
  readonly admin: MemberAdmin;
  /** Changes the shard map, from any member. */
  readonly mapEditor: MapEditor;
  readonly mover: SlotMover;
  /** Load and size by slot. */
  readonly slotLoads: SlotLoads;
  /** Recovers halted shards, on behalf of an operator. */
  readonly recovery: ShardRecovery;
  /** All members of the cluster, in the order of their names. */
  readonly members: readonly MemberInfo[];
  /** The shard map this member holds; plain data. Errors: KV_UNAVAILABLE before the first one is known. */
  map(): ShardMap;
  /** This member's replica of a shard, the meta shard's too. */
  replica(shard: string): Replica | undefined;
  /** The same for what clients may address: the meta shard holds no client keys, so they cannot reach it. */
  dataReplica(shard: string): ReplicaPort | undefined;
  /** All replicas of this member, data shards in order, then meta. */
  replicas(): readonly ReplicaPort[];
  /** Whether this member leads the shard at this moment. */
  leads(shard: string): boolean;
  /** Why a shard as a whole stands still; undefined while it has, or may get, a leader. */
  shardHalt(shard: string): KvError | undefined;
  /** The shard's Raft term as this member knows it; of a shard that is not here the meta shard's; 0 = not known. */
  termOf(shard: string): number;
  /** shard -> hex id of its leader, as far as known here. */
  leaders(): Readonly<Record<string, string>>;
  /** Called when the map or a leader changed; returns how to stop that. */
  onTopologyChange(listener: () => void): () => void;
  /**
   * Hands leadership of a shard over, from whichever member leads it. Resolves with how long the target keeps it against the even
   * spread, milliseconds. Errors: KV_BAD_TRANSFEREE, ...
   */
  transfer(shard: string, member: string): Promise<number>;
  /** Of the scheduled copies of a shard that this member leads. */
  copyStatus(shard: ShardId): CopyStatus;
  /** Of the slot moves that this member had a part in. */
  handOvers(): HandOvers;
  /** The slots that are moving, with their progress from all members that can be asked. */
  moves(): Promise<readonly MoveInfo[]>;
  readiness(): readonly ReadinessCheck[];
  /** Set while starting and while shutting down: why requests are refused. */
  refusal(): KvError | undefined;
}
