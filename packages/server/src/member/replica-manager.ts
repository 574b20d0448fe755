import {
  assert,
  formatId,
  fromHex,
  isKvError,
  KvError,
  type LeaderId,
  logIndex,
  META_SHARD,
  type MemberId,
  type ShardId,
} from '@kvorum/base';
import type { PeerMessages, PeerTransport, SharedLogs } from '@kvorum/ports';
import {
  createPaces,
  type GenesisPlan,
  type LeaseNetwork,
  openReplica,
  type Replica,
  type ReplicaOptions,
  type ReplicaStores,
  type SlotCounts,
} from '@kvorum/replica';
import {
  type GenesisEntry,
  initialVotersOf,
  type ShardEntry,
  type ShardMap,
  shardEntryOf,
} from '@kvorum/shard';
import { autoCompactionPolicy } from '../config/auto-compaction.ts';
import type { KvdConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import type { MemberMetrics } from '../metrics.ts';
import { encodeReplicaRequest } from '../router/forward.ts';
import { memberIdOf } from './cluster.ts';
import { checkLogOwner } from './log-owner.ts';
import { openLogWhenReachable } from './open-log.ts';
import type { ReplicaSet } from './replica-set.ts';
import { slotSpaceOf } from './slot-moves.ts';
import type { CopiedOffsets } from './snapshot-copies.ts';
import type { SpaceQuota } from './space-quota.ts';
import { pause, sha256, systemClock, systemRng } from './system.ts';

const OPEN_AT_ONCE = 16;
/** Between two looks at the replicas' memberships, and before a replica that did not open is tried again. */
const RECONCILE_MS = 1000;

export interface ReplicaManagerParts {
  /** Absent: no copies are made. */
  readonly copied: CopiedOffsets | undefined;
  readonly self: MemberId;
  readonly leaderId: LeaderId;
  readonly config: KvdConfig;
  readonly logs: SharedLogs;
  readonly logWhere: string;
  readonly logger: Logger;
  readonly metrics: MemberMetrics;
  readonly load: SlotCounts;
  readonly leases: LeaseNetwork;
  readonly space: SpaceQuota;
  readonly stores: ReplicaStores;
  /** Shards that this member has something of on disk. */
  readonly onDisk: ReadonlySet<string>;
  /** For votes and heartbeats. */
  readonly messages: PeerMessages;
  /** For snapshots. */
  readonly peers: Pick<PeerTransport, 'request'>;
  readonly replicas: ReplicaSet;
  readonly signal: AbortSignal;
}

/** What a replica is opened with. */
export interface ReplicaSpec {
  readonly shard: ShardId;
  readonly uid: Uint8Array;
  readonly generation: number;
  /** Of a generation above 0: who begins it. */
  readonly genesis?: GenesisPlan | undefined;
  /** Who voted before the log's first `config` record. */
  readonly initialVoters: readonly MemberId[];
  /** 0: this member should lead. */
  readonly preferenceRank: number;
  /** Absent: of the meta group. */
  readonly slots?: ReplicaOptions['slots'];
}

/** From the map's form, or a member's file. */
export function genesisPlan({ member, index, revision }: GenesisEntry): GenesisPlan {
  return { member: memberIdOf(member), index: logIndex(index), revision };
}

/**
 * Keeps this member's replicas in step with the shard map: it has a replica of a shard that wants its vote, or that still counts it
 * as a member; every other one is closed and deleted.
 */
export class ReplicaManager {
  readonly #parts: ReplicaManagerParts;
  readonly #self: string;
  readonly #paces = createPaces();
  /** What is open, being opened or being closed. */
  readonly #hosted = new Map<ShardId, ReplicaSpec>();
  readonly #closing = new Map<ShardId, Promise<void>>();
  readonly #onDisk: Set<string>;
  #map: ShardMap | undefined;
  #reconciling: Promise<void> | undefined;
  #again = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: ReplicaManagerParts) {
    this.#parts = parts;
    this.#self = formatId(parts.self);
    this.#onDisk = new Set(parts.onDisk);
  }

  /** Opens a replica, also the meta group's. Errors: as of the log's and the store's opening. */
  async open(spec: ReplicaSpec): Promise<Replica> {
    const { shard } = spec;
    assert(!this.#hosted.has(shard), `shard ${shard} is open already`);
    this.#hosted.set(shard, spec);
    try {
      return await this.#open(spec);
    } catch (error) {
      this.#hosted.delete(shard);
      throw error;
    }
  }

  /** Closes a replica, if it is open; its rows stay. */
  close(shard: ShardId): Promise<void> {
    const replica = this.#parts.replicas.get(shard);
    if (replica === undefined) return this.#closing.get(shard) ?? Promise.resolve();
    this.#parts.replicas.remove(shard);
    const closed = replica.stop().then(() => {
      this.#hosted.delete(shard);
      this.#closing.delete(shard);
    });
    this.#closing.set(shard, closed);
    return closed;
  }

  /** Opens all that the map gives to this member; resolves when it is open. Errors: those of the first that does not open. */
  async start(map: ShardMap): Promise<void> {
    this.#map = map;
    const entries = this.#missing(map);
    for (let i = 0; i < entries.length; i += OPEN_AT_ONCE) {
      const group = entries.slice(i, i + OPEN_AT_ONCE);
      await Promise.all(group.map((entry) => this.#openFirst(this.#specOf(map, entry))));
    }
    this.#timer = setInterval(() => this.#reconcile(), RECONCILE_MS);
    this.follow(map);
  }

  /** This member's copy of the map may be older than a recovery that its replica has seen: then the next one opens it. */
  async #openFirst(spec: ReplicaSpec): Promise<void> {
    try {
      await this.open(spec);
    } catch (error) {
      if (!isKvError(error) || error.code !== 'KV_UNAVAILABLE') throw error;
      this.#parts.logger.warn({ shard: spec.shard, err: error }, 'replica opens later');
    }
  }

  /** A newer map; what differs is opened and closed in the background. */
  follow(map: ShardMap): void {
    this.#map = map;
    if (this.#timer === undefined) return;
    for (const replica of this.#parts.replicas.all()) this.#tell(map, replica);
    this.#reconcile();
  }

  /** Whom the map wants in a shard. Who does not vote in the meta group follows it: every member needs the map. */
  #tell(map: ShardMap, replica: Replica): void {
    const excluded = map.members.filter(({ logExcluded }) => logExcluded === true);
    replica.excludeFromTruncation(excluded.map(({ id }) => memberIdOf(id)));
    const entry = shardEntryOf(map, replica.shard);
    if (entry === undefined) return;
    const isLearner = ({ id, state }: ShardMap['members'][number]): boolean =>
      replica.shard === META_SHARD && state !== 'leaving' && !entry.voters.includes(id);
    const learners = map.members.filter(isLearner).map(({ id }) => memberIdOf(id));
    replica.wantMembership({ voters: entry.voters.map(memberIdOf), learners });
  }

  /** Closes every replica; the rows stay. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await Promise.all(this.#parts.replicas.all().map((replica) => replica.stop()));
    await this.#reconciling;
  }

  /** The shards of the map that should be open here and are not. */
  #missing(map: ShardMap): readonly ShardEntry[] {
    return map.shards.filter(
      (entry) =>
        entry.id !== META_SHARD &&
        !this.#hosted.has(entry.id) &&
        // A replica on disk may still vote, whatever the map wants: its log tells.
        (entry.voters.includes(this.#self) || this.#onDisk.has(entry.id)),
    );
  }

  #specOf(map: ShardMap, entry: ShardEntry): ReplicaSpec {
    const uid = fromHex(entry.uid);
    assert(uid !== undefined, `shard ${entry.id} has a checked uid`);
    const rank = entry.voters.indexOf(this.#self);
    return {
      shard: entry.id,
      uid,
      generation: entry.generation,
      genesis: entry.genesis === undefined ? undefined : genesisPlan(entry.genesis),
      initialVoters: initialVotersOf(map, entry).map(memberIdOf),
      preferenceRank: rank < 0 ? entry.voters.length : rank,
      slots: slotSpaceOf(map.rules, entry.startsEmpty === true),
    };
  }

  #reconcile(): void {
    this.#again = true;
    this.#reconciling ??= this.#run().finally(() => {
      this.#reconciling = undefined;
    });
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#parts.signal.aborted) {
      this.#again = false;
      const map = this.#map;
      if (map === undefined) return;
      for (const spec of [...this.#hosted.values()]) await this.#closeUnwanted(map, spec);
      const entries = this.#missing(map).slice(0, OPEN_AT_ONCE);
      await Promise.all(entries.map((entry) => this.#tryOpen(this.#specOf(map, entry))));
    }
  }

  async #tryOpen(spec: ReplicaSpec): Promise<void> {
    const { logger, signal } = this.#parts;
    try {
      await this.open(spec);
      logger.info({ shard: spec.shard }, 'replica opened');
      this.#parts.replicas.notify();
    } catch (error) {
      if (signal.aborted) return;
      logger.error({ shard: spec.shard, err: error }, 'replica does not open; trying again');
      await pause(RECONCILE_MS, signal);
    }
  }

  async #closeUnwanted(map: ShardMap, spec: ReplicaSpec): Promise<void> {
    const { shard, generation, uid } = spec;
    const { replicas, stores, logger } = this.#parts;
    const replica = replicas.get(shard);
    if (shard === META_SHARD || replica === undefined) return;
    const entry = shardEntryOf(map, shard);
    // A recovery has raised it: the replica goes on in the next generation of the log.
    const isOther = entry !== undefined && entry.generation > generation;
    if (!isOther && entry !== undefined && this.#belongsHere(entry, replica)) return;
    replicas.remove(shard);
    await replica.stop();
    if (!isOther) {
      await stores.retire(shard, uid);
      this.#onDisk.delete(shard);
    }
    this.#hosted.delete(shard);
    logger.info({ shard, generation }, isOther ? 'replica closed' : 'replica closed and deleted');
  }

  #belongsHere(entry: ShardEntry, replica: Replica): boolean {
    if (entry.voters.includes(this.#self)) return true;
    const { voters, learners, halted } = replica.status().raft;
    // A halted one is kept for the operator: it may be what a recovery begins with.
    return halted !== undefined || [...voters, ...learners].includes(this.#parts.self);
  }

  async #open(spec: ReplicaSpec): Promise<Replica> {
    const { shard, generation, genesis, initialVoters: voters } = spec;
    const { config, logs, logWhere, signal, messages, self } = this.#parts;
    const logger = this.#parts.logger.child({ shard });
    const waiting = {
      logs,
      clock: systemClock,
      logger,
      startupTimeoutMs: config.log.startupTimeoutMs,
      where: logWhere,
      signal,
    };
    const log = await openLogWhenReachable({ shard, generation }, waiting);
    await checkLogOwner(log, { shardUid: spec.uid, generation }, waiting);
    const store = await this.#parts.stores.open(shard, spec.uid);
    this.#onDisk.add(shard);
    const autoCompaction = autoCompactionPolicy(config.autoCompaction);
    const { copied } = this.#parts;
    const replica = await openReplica({
      shard,
      shardUid: spec.uid,
      generation,
      ...(genesis === undefined ? {} : { genesis }),
      self,
      leaderId: this.#parts.leaderId,
      voters,
      preferenceRank: spec.preferenceRank,
      ...(spec.slots === undefined ? {} : { slots: spec.slots, leases: this.#parts.leases }),
      log,
      store,
      place: this.#parts.stores.placeOf(shard),
      transport: {
        send: (to, payload) => messages.send(to, { shard, payload }),
        request: (to, payload, options) =>
          this.#parts.peers.request(to, encodeReplicaRequest(shard, payload), options),
      },
      clock: systemClock,
      rng: systemRng,
      limits: config.limits,
      load: this.#parts.load,
      metrics: this.#parts.metrics.replica,
      logger,
      space: this.#parts.space,
      paces: this.#paces,
      ...(autoCompaction === undefined ? {} : { autoCompaction }),
      ...(copied === undefined ? {} : { copiedOffset: () => copied.of(shard) }),
      sha256,
    });
    if (signal.aborted) {
      await replica.stop();
      throw new KvError('KV_STOPPED');
    }
    this.#parts.replicas.add(replica);
    if (this.#map !== undefined) this.#tell(this.#map, replica);
    for (const { id } of replica.status().raft.peers) {
      replica.peerReachability(id, messages.isReachable(id));
    }
    return replica;
  }
}
