import {
  formatId,
  isShardId,
  KvError,
  type Limits,
  META_SHARD,
  type MemberId,
  type ShardId,
} from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import type { Replica, ReplicaPort, SlotMover } from '@kvorum/replica';
import { type ShardMap, shardEntryOf, wrongDisk } from '@kvorum/shard';
import { type HandOvers, type MemberInfo, type MoveInfo, plainError } from '@kvorum/wire';
import { keysOfLeases } from '../auth/lease-keys.ts';
import { type AuthSetup, MemberAuth } from '../auth/member-auth.ts';
import { ClientMemory } from '../client-memory.ts';
import type { Host, ReadinessCheck } from '../host.ts';
import type { Logger } from '../logger.ts';
import type { MemberMetrics } from '../metrics.ts';
import {
  accepted,
  encodeHold,
  encodeTransfer,
  holdMsOf,
  parsePeerRequest,
} from '../router/forward.ts';
import { Leases } from '../router/leases.ts';
import { votersOf } from '../router/place.ts';
import { Router } from '../router/router.ts';
import { ServedWatches } from '../router/served-watches.ts';
import { ShardWatches } from '../router/shard-watches.ts';
import { type Cluster, clusterOfMap, findMember, memberIdOf, memberInfos } from './cluster.ts';
import { giveLeadershipAway } from './leadership.ts';
import { MapEditor } from './map-editor.ts';
import { MemberAdmin } from './member-admin.ts';
import type { MetaGroup } from './meta-group.ts';
import { servePeerRequest } from './peer-requests.ts';
import { HeldShards } from './placement.ts';
import { readinessChecks } from './readiness.ts';
import { RemoteLeaders } from './remote-leaders.ts';
import type { ReplicaSet } from './replica-set.ts';
import { moveInfos, otherMembers, withProgress } from './reshard.ts';
import { ShardHalts } from './shard-halts.ts';
import { ShardRecovery } from './shard-recovery.ts';
import { SlotLoads } from './slot-loads.ts';
import { createSlotMover } from './slot-moves.ts';
import type { CopyStatus, SnapshotCopies } from './snapshot-copies.ts';
import { systemRng } from './system.ts';

const NOTIFY_MS = 20;
const TRANSFER_TIMEOUT_MS = 10_000;
const HOLD_TIMEOUT_MS = 1000;

export interface MemberHostParts {
  readonly cluster: Cluster;
  readonly version: string;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly metrics: MemberMetrics;
  readonly replicas: ReplicaSet;
  readonly metaGroup: MetaGroup;
  /** This member's disk is not registered in the shard map yet. */
  readonly isFresh: () => boolean;
  readonly auth: AuthSetup;
}

/** What the client side and the other members see of a running member. */
export class MemberHost implements Host {
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
  readonly clientMemory: ClientMemory;
  readonly router: Router;
  readonly leases: Leases;
  readonly watches: ShardWatches;
  /** Those that other members forward here. */
  readonly served: ServedWatches;
  readonly auth: MemberAuth;
  readonly mapEditor: MapEditor;
  readonly recovery: ShardRecovery;
  readonly metaGroup: MetaGroup;
  readonly admin: MemberAdmin;
  readonly mover: SlotMover;
  readonly slotLoads: SlotLoads;
  /** Leaderships that somebody moved here by hand. */
  readonly held: HeldShards;
  #cluster: Cluster;
  readonly #isFresh: () => boolean;
  readonly #remote: RemoteLeaders;
  readonly #replicas: ReplicaSet;
  readonly #listeners = new Set<() => void>();
  readonly #halts: ShardHalts;
  #peers: PeerTransport | undefined;
  #map: ShardMap | undefined;
  #stopping: KvError | undefined;
  #startingWith: string | undefined;
  #notifyScheduled = false;
  #copies: SnapshotCopies | undefined;

  constructor(parts: MemberHostParts) {
    this.#cluster = parts.cluster;
    this.#replicas = parts.replicas;
    this.self = parts.cluster.self.id;
    this.clusterId = formatId(parts.cluster.id);
    this.memberId = formatId(this.self);
    this.name = parts.cluster.self.name;
    this.version = parts.version;
    this.clock = parts.clock;
    this.startedAtMs = parts.clock.nowMs();
    this.limits = parts.limits;
    this.logger = parts.logger;
    this.metrics = parts.metrics;
    this.clientMemory = new ClientMemory(parts.limits.clientBytesMax, (holder) => {
      parts.metrics.refusedConnections.inc({ reason: 'memory' });
      parts.logger.warn(holder, 'a client holds most of the memory for clients; disconnected');
    });
    this.#isFresh = parts.isFresh;
    this.metaGroup = parts.metaGroup;
    this.held = new HeldShards(parts.clock, parts.limits.transferHoldMs);
    const peers: ConstructorParameters<typeof Router>[0]['peers'] = {
      request: (to, payload, options) => this.#transport().request(to, payload, options),
      isReachable: (peer) => this.#peers?.isReachable(peer) ?? false,
    };
    this.#halts = this.#shardHalts(peers);
    const leaders = {
      self: this.self,
      clock: this.clock,
      limits: this.limits,
      peers,
      map: () => this.map(),
      replica: (shard: string) => this.#replicas.get(shard),
      leaderOf: (shard: string) => this.#leaderOf(shard),
      shardHalt: (shard: ShardId) => this.#halts.of(shard),
    };
    this.router = new Router({
      ...leaders,
      isHalted: (shard) => this.#replicas.haltOf(shard) !== undefined,
      isInstalling: (shard) => this.#replicas.isInstalling(shard),
      authVersion: () => this.auth.version,
    });
    this.auth = this.#authorization(parts.auth, peers);
    this.onTopologyChange(() => this.auth.silent.observe());
    this.watches = this.#shardWatches(peers);
    this.served = this.#servedWatches();
    this.#remote = new RemoteLeaders({
      self: this.self,
      map: () => this.#map,
      replicas: this.#replicas,
      peers,
      changed: () => this.#scheduleNotify(),
    });
    this.mapEditor = new MapEditor({ clock: this.clock, router: this.router });
    this.leases = new Leases({ ...leaders, rng: systemRng, mapEditor: this.mapEditor });
    this.auth.gate.setLeases(keysOfLeases(this));
    this.recovery = new ShardRecovery({
      self: this.self,
      replicas: this.#replicas,
      peers,
      map: () => this.map(),
      editor: this.mapEditor,
      metaGroup: this.metaGroup,
      logger: this.logger,
    });
    this.mover = this.#slotMover(peers);
    this.slotLoads = this.#countSlots(peers);
    this.admin = new MemberAdmin({
      self: this.memberId,
      editor: this.mapEditor,
      map: () => this.map(),
      isReachable: (member) => peers.isReachable(member),
    });
    this.#replicas.onChange(() => this.#scheduleNotify());
  }

  #slotMover(peers: Pick<PeerTransport, 'request'>): SlotMover {
    return createSlotMover({
      self: this.self,
      clock: this.clock,
      limits: this.limits,
      logger: this.logger,
      replicas: this.#replicas,
      peers,
      map: () => this.#map,
      leaderOf: (shard) => this.#leaderOf(shard),
      mapEditor: this.mapEditor,
      told: (event) => this.metrics.moves.told(event),
    });
  }

  #shardHalts(peers: Pick<PeerTransport, 'request' | 'isReachable'>): ShardHalts {
    return new ShardHalts({
      self: this.self,
      replicas: this.#replicas,
      peers,
      voters: (shard) =>
        this.#map === undefined ? [] : votersOf(this.#map, shard).map(memberIdOf),
    });
  }

  #authorization(setup: AuthSetup, peers: Pick<PeerTransport, 'request'>): MemberAuth {
    const { clock, limits, logger, router } = this;
    return new MemberAuth(setup, {
      ...{ clock, limits, logger, router, peers },
      replica: (shard) => this.#replicas.get(shard),
      others: () => otherMembers(this.map(), this.self),
      nameOf: (member) => this.#nameOf(member),
    });
  }

  #nameOf(member: MemberId): string {
    return this.members.find(({ id }) => id === formatId(member))?.name ?? '?';
  }

  #countSlots(peers: Pick<PeerTransport, 'request'>): SlotLoads {
    return new SlotLoads({
      self: this.self,
      clock: this.clock,
      map: () => this.map(),
      leads: (shard) => this.leads(shard),
      peers,
    });
  }

  #servedWatches(): ServedWatches {
    return new ServedWatches({
      clock: this.clock,
      bytesMax: this.limits.watchBufferBytesMax,
      replica: (shard) => this.#replicas.get(shard),
    });
  }

  #shardWatches(peers: Pick<PeerTransport, 'request' | 'isReachable'>): ShardWatches {
    return new ShardWatches({
      clock: this.clock,
      rng: systemRng,
      limits: this.limits,
      peers,
      replica: (shard) => this.#replicas.get(shard),
      holders: (shard) => this.holders(shard),
      nameOf: (member) => this.#nameOf(member),
      refusal: () => this.refusal(),
      shardHalt: (shard) => this.#halts.of(shard),
    });
  }

  get members(): readonly MemberInfo[] {
    return memberInfos(this.#cluster, this.#map);
  }

  /** The members as far as they are known: from the map, before the first one from the configuration. */
  get cluster(): Cluster {
    return this.#cluster;
  }

  setPeers(peers: PeerTransport): void {
    this.#peers = peers;
  }

  setMap(map: ShardMap): void {
    this.#map = map;
    this.#cluster = clusterOfMap(this.#cluster, map);
    this.#scheduleNotify();
  }

  /** What a start is at: told to whoever asks meanwhile. */
  setStarting(what: string): void {
    this.#startingWith = what;
  }

  setStopping(error: KvError): void {
    this.#stopping = error;
  }

  #transport(): PeerTransport {
    if (this.#peers === undefined) throw new KvError('KV_UNAVAILABLE', 'the member is starting');
    return this.#peers;
  }

  /** Elections of many shards come together: clients are told once. */
  #scheduleNotify(): void {
    if (this.#notifyScheduled) return;
    this.#notifyScheduled = true;
    this.clock.setTimer(NOTIFY_MS, () => {
      this.#notifyScheduled = false;
      if (this.#map !== undefined) for (const listener of this.#listeners) listener();
    });
  }

  map(): ShardMap {
    if (this.#map === undefined) throw this.#starting();
    return this.#map;
  }

  #starting(): KvError {
    const what = this.#startingWith === undefined ? '' : ` (${this.#startingWith})`;
    return new KvError('KV_UNAVAILABLE', `member ${this.name} is starting${what}`);
  }

  refusal(): KvError | undefined {
    return this.#stopping ?? (this.#map === undefined ? this.#starting() : undefined);
  }

  replica(shard: string): Replica | undefined {
    return this.#replicas.get(shard);
  }

  dataReplica(shard: string): ReplicaPort | undefined {
    return shard === META_SHARD ? undefined : this.#replicas.get(shard);
  }

  replicas(): readonly ReplicaPort[] {
    return this.#replicas.all();
  }

  shardHalt(shard: string): KvError | undefined {
    return isShardId(shard) ? this.#halts.of(shard) : undefined;
  }

  holders(shard: string): readonly MemberId[] {
    const map = this.map();
    const leader = this.#leaderOf(shard);
    const voters = votersOf(map, shard).map(memberIdOf);
    const ordered = leader === undefined ? voters : [leader, ...voters];
    return [...new Set(ordered)].filter((member) => member !== this.self);
  }

  ask(member: MemberId, payload: unknown, timeoutMs: number): Promise<unknown> {
    const signal = AbortSignal.timeout(timeoutMs);
    return this.#transport().request(member, payload, { signal });
  }

  /** Begins to ask other members about shards without a leader; returns how to stop. */
  watchHalts(): () => void {
    return this.#halts.start();
  }

  /** Begins to ask other members who leads the shards that are not here; returns how to stop. */
  watchRemoteLeaders(): () => void {
    return this.#remote.start();
  }

  /** Of a shard that is here or elsewhere, as far as it is known. */
  #leaderOf(shard: string): MemberId | undefined {
    return this.#replicas.leaderOf(shard) ?? this.#remote.of(shard);
  }

  leads(shard: string): boolean {
    return this.#replicas.leads(shard);
  }

  termOf(shard: string): number {
    return this.#replicas.termOf(shard) ?? this.#replicas.termOf(META_SHARD) ?? 0;
  }

  leaders(): Readonly<Record<string, string>> {
    const leaders: Record<string, string> = {};
    for (const [shard, leader] of this.#remote.all()) leaders[shard] = formatId(leader);
    return { ...leaders, ...this.#replicas.leaders() };
  }

  onTopologyChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Where the scheduled copies tell of themselves. */
  setCopies(copies: SnapshotCopies): void {
    this.#copies = copies;
  }

  copyStatus(shard: ShardId): CopyStatus {
    return this.#copies?.status(shard) ?? {};
  }

  readiness(): readonly ReadinessCheck[] {
    return readinessChecks(this.refusal(), this.#replicas.all());
  }

  async transfer(shard: string, member: string): Promise<number> {
    const target = findMember(this.map(), member);
    if (target === undefined) {
      const names = this.members.map((info) => info.name).join(', ');
      throw new KvError('KV_BAD_TRANSFEREE', `no member ${member} (members: ${names})`);
    }
    const replica = this.#replicas.get(shard);
    if (!isShardId(shard) || shardEntryOf(this.map(), shard) === undefined)
      throw new KvError('KV_NOT_FOUND', `no shard ${shard}`, { details: { shard } });
    const leader = this.#leaderOf(shard);
    if (leader === undefined) throw new KvError('KV_NO_LEADER', undefined, { details: { shard } });
    if (leader === this.self && replica !== undefined) return this.#handOver(replica, target);
    const signal = AbortSignal.timeout(TRANSFER_TIMEOUT_MS);
    const question = encodeTransfer(shard, member);
    return holdMsOf(accepted(await this.#transport().request(leader, question, { signal })));
  }

  /** Tells the target first, or its even spreading could send the shard back before it knows. */
  async #handOver(replica: ReplicaPort, target: MemberId): Promise<number> {
    const { shard } = replica;
    if (target === this.self) {
      await replica.transferLeadership(target);
      return this.held.hold(shard);
    }
    const signal = AbortSignal.timeout(HOLD_TIMEOUT_MS);
    let holdMs = 0;
    try {
      holdMs = holdMsOf(await this.#transport().request(target, encodeHold(shard), { signal }));
    } catch (error) {
      this.logger.debug({ shard, err: error }, 'the target was not told to keep the leadership');
    }
    await replica.transferLeadership(target);
    this.held.release(shard);
    return holdMs;
  }

  /** Why nothing may come from who opens a connection: the member it says to be has another disk. */
  refusalOf({
    memberId,
    diskId,
  }: {
    readonly memberId: MemberId;
    readonly diskId: string;
  }): string | undefined {
    const id = formatId(memberId);
    const entry = this.#map?.members.find((member) => member.id === id);
    const isOther = entry?.diskId !== undefined && entry.diskId !== diskId;
    return entry === undefined || !isOther ? undefined : wrongDisk(entry).message;
  }

  isMember(id: MemberId): boolean {
    return this.#cluster.members.some((member) => member.id === id);
  }

  /** Answers a request of another member. Never rejects on a refusal: errors travel as plain data. */
  async onPeerRequest(from: MemberId, payload: unknown): Promise<unknown> {
    const parsed = parsePeerRequest(payload);
    if (!parsed.ok) return { error: plainError(parsed.error) };
    const request = parsed.value;
    if (request.kind === 'map') {
      return { map: this.#map ?? null, fresh: this.#isFresh(), meta: this.metaGroup.account };
    }
    if (!this.isMember(from)) {
      const text = `member ${formatId(from)} is not in the shard map of this cluster`;
      return { error: plainError(new KvError('KV_UNAVAILABLE', text)) };
    }
    this.auth.silent.heard(from);
    return servePeerRequest(this, this.#replicas, from, request);
  }

  /** All moves, with the progress of those that this member drives. */
  drivenMoves(): readonly MoveInfo[] {
    return moveInfos(this.map(), this.mover.progress());
  }

  handOvers(): HandOvers {
    return this.metrics.moves.totals();
  }

  async moves(): Promise<readonly MoveInfo[]> {
    const own = this.drivenMoves();
    if (own.length === 0) return own;
    return withProgress(own, this.#transport(), otherMembers(this.map(), this.self));
  }

  /** Hands every led shard to the reachable member that is furthest; gives up after `timeoutMs`. */
  giveLeadershipAway(timeoutMs: number): Promise<void> {
    return giveLeadershipAway(this.#replicas.led(), this.logger, timeoutMs);
  }
}
