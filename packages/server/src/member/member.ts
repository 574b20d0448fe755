import { isKvError, KvError, META_SHARD, type MemberId } from '@kvorum/base';
import type { KafkaElection } from '@kvorum/log-kafka';
import { openPeerTransport, type TcpPeerTransport } from '@kvorum/peer-tcp';
import type { PeerMessages, PeerTransport, SharedLogs, StateStores } from '@kvorum/ports';
import { type Replica, ReplicaStores } from '@kvorum/replica';
import { initialVotersOf, type ShardMap, shardEntryOf } from '@kvorum/shard';
import { openSnapshotStore } from '@kvorum/snapshot-store';
import { openLevelStores } from '@kvorum/store-level';
import type { KvdConfig } from '../config/schema.ts';
import type { DevControl } from '../http/dev-routes.ts';
import { type ClientServer, startClientServer } from '../http/server.ts';
import type { Logger } from '../logger.ts';
import { createMetrics, type MemberMetrics } from '../metrics.ts';
import { clientTls } from './client-tls.ts';
import { type Cluster, memberIdOf } from './cluster.ts';
import { confirmDirectory, type DataDirectory, saveMap } from './data-directory.ts';
import type { OpenElection } from './election.ts';
import { firstMap } from './first-map.ts';
import { deriveMetaUid, freshLeaderId } from './identity.ts';
import { startLoadBalancing } from './leader-load.ts';
import { MapKeeper } from './map-keeper.ts';
import { MemberHost } from './member-host.ts';
import { MetaGroup } from './meta-group.ts';
import { MixedMessages } from './mixed-messages.ts';
import { type WaitForLogOptions, whenReachable } from './open-log.ts';
import { openedShards } from './opened-shards.ts';
import { checkStanding, findOwnPlace, type OwnPlace } from './own-place.ts';
import { peerAddresses, peerOptions } from './peer-options.ts';
import { awaitPermission } from './permission.ts';
import { startPlacement } from './placement.ts';
import { warnOfPlainText } from './plain-text.ts';
import { ReplicaManager } from './replica-manager.ts';
import { ReplicaSet } from './replica-set.ts';
import { startScaling } from './reshard.ts';
import { ShardMapSource } from './shard-map-source.ts';
import { CopiedOffsets, SnapshotCopies } from './snapshot-copies.ts';
import { SpaceQuota } from './space-quota.ts';
import { systemClock, systemRng } from './system.ts';

const GRACE_MS = 5000;
const TRANSFER_MS = 2500;
const VERIFY_MS = 60_000;

export interface MemberOptions {
  readonly config: KvdConfig;
  readonly version: string;
  readonly logger: Logger;
  /** Shared by the members of one process; closed by whoever opened it. */
  readonly logs: SharedLogs;
  /** For messages about the log: its brokers or directory. */
  readonly logWhere: string;
  /** Votes and heartbeats go over this instead of the members' own connections. */
  readonly openElection?: OpenElection;
  /** Ends the start early. */
  readonly signal: AbortSignal;
  /** Of a development cluster. */
  readonly dev?: DevControl;
  /** Found out already; else it is at the start. */
  readonly place?: OwnPlace;
}

/** A running member. */
export interface Member {
  readonly name: string;
  readonly clientAddress: string;
  readonly host: MemberHost;
  /** Resolves when the cluster no longer has this member, with what to tell; the member stops by itself then. */
  readonly expelled: Promise<KvError>;
  /** Readiness off, leadership away, requests finished, everything closed. Safe to call twice. */
  stop(): Promise<void>;
  /** Dies as with its process: connections are cut, nothing is handed over; then the files are closed. For development. */
  kill(): Promise<void>;
}

/**
 * Starts a member: data directory, peers, client port, meta shard, shard map, data shards.
 *
 * Errors: KV_CONFIG, KV_DATA_DIR, KV_LOG_UNAVAILABLE, KV_LOG_MISCONFIGURED, KV_HALTED, KV_CORRUPT; what was opened is closed then.
 */
export async function startMember(options: MemberOptions): Promise<Member> {
  const { config, logger, signal } = options;
  const place = options.place ?? (await findOwnPlace(config, logger, signal));
  const member = new RunningMember(options, place);
  try {
    await member.start();
  } catch (error) {
    await member.stop();
    throw error;
  }
  return member;
}

type LogProblems = Awaited<ReturnType<SharedLogs['verify']>>;

class RunningMember implements Member {
  readonly name: string;
  readonly host: MemberHost;
  readonly #options: MemberOptions;
  readonly #logger: Logger;
  readonly #place: OwnPlace;
  readonly #cluster: Cluster;
  readonly #data: DataDirectory;
  readonly #metrics: MemberMetrics;
  readonly #stores: StateStores;
  readonly #space: SpaceQuota;
  readonly #replicas = new ReplicaSet();
  readonly #copied = new CopiedOffsets();
  /** Undone in reverse order at the end. */
  readonly #cleanups: (() => void | Promise<void>)[] = [];
  readonly #abort = new AbortController();
  readonly #leaderId: ReturnType<typeof freshLeaderId>;
  readonly #metaGroup: MetaGroup;
  #newestMap: ShardMap | undefined;
  /** Its disk is not registered in the map yet. */
  #fresh: boolean;
  /** Every disk is new, or this member is alone: nobody's vote can be lost. */
  #mayReplaceDisk = false;
  #peers: TcpPeerTransport | undefined;
  #election: KafkaElection | undefined;
  #client: ClientServer | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: MemberOptions, place: OwnPlace) {
    const { config, logger } = options;
    this.#options = options;
    this.name = config.name;
    this.#logger = logger;
    this.#place = place;
    this.#cluster = place.cluster;
    this.#data = place.directory;
    this.#fresh = !place.directory.confirmed;
    this.#leaderId = freshLeaderId(this.#cluster.self.id, systemRng);
    this.#metrics = createMetrics({
      version: options.version,
      config,
      memberId: place.cluster.self.id,
    });
    this.#space = new SpaceQuota(config.limits.quotaBytes);
    this.#stores = openLevelStores({
      directory: this.#data.replicas,
      tuning: { compression: config.store.compression === 'snappy' },
    });
    this.#metaGroup = new MetaGroup({
      self: this.#cluster.self.id,
      uid: deriveMetaUid(this.#cluster.id),
      path: this.#data.path,
      replicas: this.#replicas,
      limits: config.limits,
      logger,
      signal: this.#abort.signal,
    });
    this.host = new MemberHost({
      cluster: this.#cluster,
      version: options.version,
      clock: systemClock,
      limits: config.limits,
      logger,
      metrics: this.#metrics,
      replicas: this.#replicas,
      metaGroup: this.#metaGroup,
      isFresh: () => this.#fresh,
      auth: { config, directory: this.#data.path, isFresh: this.#fresh },
    });
    this.expelled = new Promise((resolve) => {
      this.#expelled = resolve;
    });
    options.signal.addEventListener('abort', () => this.#abort.abort());
  }

  /** Resolves when the cluster no longer has this member, with what to tell; the member is stopping then. */
  readonly expelled: Promise<KvError>;
  #expelled: (error: KvError) => void = () => undefined;

  get clientAddress(): string {
    return this.#client?.address ?? this.#options.config.listenClient;
  }

  async start(): Promise<void> {
    const { config, dev } = this.#options;
    this.#cleanups.push(() => this.#stores.close());
    // The meta store first: its lock tells at once whether another process uses the directory.
    await (await this.#stores.open(META_SHARD)).close();
    const peers = await openPeerTransport(
      peerOptions({
        config,
        cluster: this.#cluster,
        diskId: this.#data.diskId,
        admit: (hello) => this.host.refusalOf(hello),
        metrics: this.#metrics.peers,
        logger: this.#logger,
      }),
    );
    this.#peers = peers;
    this.#cleanups.push(() => peers.close());
    this.#wirePeers(peers);
    const tls = clientTls(config, this.#logger);
    if (tls === undefined) warnOfPlainText(config, this.#logger);
    this.#client = await startClientServer(this.host, config.listenClient, { dev, tls });
    this.host.setStarting(`opening its log at ${this.#options.logWhere}`);
    const messages = await this.#openElection(peers);
    const manager = this.#startManager(peers, messages, new Set(await this.#stores.list()));
    await this.#awaitPermission();
    const meta = await this.#openMeta(manager);
    this.host.setStarting('waiting for the shard map: needs a majority of the members');
    const source = new ShardMapSource(meta, systemClock, this.#logger);
    this.#metaGroup.onReopened((replica) => source.use(replica));
    const map = await source.first(
      () => firstMap(config, this.#cluster, systemRng),
      this.#abort.signal,
    );
    if (!this.#mayReplaceDisk) checkStanding(map, this.#data);
    await this.host.auth.start();
    this.#cleanups.push(() => this.host.auth.source.stop());
    this.host.setStarting('opening its shards');
    await manager.start(map);
    this.#onMap(map, manager);
    this.#cleanups.push(source.follow((next) => this.#onMap(next, manager)));
    this.#startTasks(messages);
    this.#keepMap(peers);
    this.#balanceLoad(peers);
    const { mapEditor: editor, self } = this.host;
    const { signal } = this.#abort;
    startScaling({ editor, self, shards: config.shards, logger: this.#logger, signal });
    this.#logger.info({ shards: config.shards, client: this.clientAddress }, 'member serves');
  }

  #startManager(
    peers: PeerTransport,
    messages: PeerMessages,
    onDisk: ReadonlySet<string>,
  ): ReplicaManager {
    const { config, logs, logWhere } = this.#options;
    const manager = new ReplicaManager({
      self: this.#cluster.self.id,
      leaderId: this.#leaderId,
      config,
      logs,
      logWhere,
      logger: this.#logger,
      metrics: this.#metrics,
      load: this.host.slotLoads.counts,
      leases: this.host.leases.network(),
      space: this.#space,
      stores: new ReplicaStores(this.#stores, openedShards(this.#data.path)),
      onDisk,
      messages,
      peers,
      replicas: this.#replicas,
      copied: config.snapshots.store === undefined ? undefined : this.#copied,
      signal: this.#abort.signal,
    });
    this.#cleanups.push(() => manager.stop());
    return manager;
  }

  #wirePeers(peers: PeerTransport): void {
    this.host.setPeers(peers);
    peers.onRequest((from, payload) => this.host.onPeerRequest(from, payload));
    if (this.#options.openElection === undefined) this.#wireMessages(peers);
  }

  /** What one says that was removed, or was never a member, counts nothing. */
  #wireMessages(messages: PeerMessages): void {
    messages.onMessage((from, { shard, payload }) => {
      if (this.host.isMember(from)) this.#replicas.get(shard)?.deliver(from, payload);
    });
    messages.onReachability((peer, reachable) => {
      for (const replica of this.#replicas.all()) replica.peerReachability(peer, reachable);
    });
  }

  /** What carries votes and heartbeats: the topics of Kafka, if that is configured, or the members' own connections. */
  async #openElection(peers: PeerTransport): Promise<PeerMessages> {
    const { config, openElection } = this.#options;
    if (openElection === undefined) return peers;
    const open = (): Promise<KafkaElection> =>
      openElection({
        self: this.#cluster.self.id,
        cluster: this.#cluster.id,
        limits: config.limits,
        metrics: this.#metrics.election,
      });
    const election = await whenReachable(open, {}, this.#waiting());
    this.#election = election;
    this.#cleanups.push(() => election.close());
    this.#metrics.electionAnswered(() => election.isAnswered);
    const messages = new MixedMessages(election, peers);
    this.#wireMessages(messages);
    return messages;
  }

  /** How long to wait for what lives where the log does. */
  #waiting(): WaitForLogOptions {
    const { config, logWhere: where } = this.#options;
    const { startupTimeoutMs } = config.log;
    const { signal } = this.#abort;
    return { clock: systemClock, logger: this.#logger, startupTimeoutMs, where, signal };
  }

  #openMeta(manager: ReplicaManager): Promise<Replica> {
    const voters = (): readonly MemberId[] => {
      const map = this.#newestMap ?? this.#place.map;
      const entry = map === undefined ? undefined : shardEntryOf(map, META_SHARD);
      if (map === undefined || entry === undefined) {
        return this.#cluster.members.map((member) => member.id);
      }
      // A later generation begins with those that are wanted now.
      const { generation } = this.#metaGroup.account;
      return (generation === 0 ? initialVotersOf(map, entry) : entry.voters).map(memberIdOf);
    };
    return this.#metaGroup.open({ manager, voters });
  }

  /** Every map, the first one too: whom to talk to, which replicas to have, and whether this member is still one. */
  #onMap(map: ShardMap, manager: ReplicaManager): void {
    this.#newestMap = map;
    this.host.setMap(map);
    this.#peers?.setPeers(peerAddresses(this.host.cluster));
    manager.follow(map);
    saveMap(this.#data.path, map);
    if (!this.#mayReplaceDisk || !this.#fresh) this.#checkStanding(map);
  }

  /** Ends this member when a map does not have it, or has it with another disk. */
  #checkStanding(map: ShardMap): void {
    try {
      checkStanding(map, this.#data);
    } catch (error) {
      if (isKvError(error)) this.#expel(error);
      else throw error;
    }
  }

  /** It was removed, or another disk took its place: it serves nothing more, and says why. */
  #expel(error: KvError): void {
    if (this.#stopping !== undefined) return;
    this.#logger.error({ err: error }, 'this member stops: it is no longer one of the cluster');
    this.#expelled(error);
    void this.stop();
  }

  /** An empty disk may belong to a member that has voted: it takes part only when that cannot matter, or the others say so. */
  async #awaitPermission(): Promise<void> {
    if (!this.#fresh || this.#place.map !== undefined) return;
    const { config, logs } = this.#options;
    const verdict = await awaitPermission({
      config,
      cluster: this.#cluster,
      waiting: { logs, ...this.#waiting() },
      starting: (what) => this.host.setStarting(what),
    });
    this.#mayReplaceDisk = verdict.mayReplaceDisk;
    if (verdict.map !== undefined) checkStanding(verdict.map, this.#data);
  }

  #keepMap(peers: TcpPeerTransport): void {
    const { config } = this.#options;
    const keeper = new MapKeeper({
      self: this.#cluster.self.id,
      diskId: this.#data.diskId,
      mayReplaceDisk: this.#mayReplaceDisk,
      zone: config.zone,
      replicaCount: config.replicas,
      editor: this.host.mapEditor,
      map: () => this.host.map(),
      peers,
      replicas: this.#replicas,
      logger: this.#logger,
      signal: this.#abort.signal,
      registered: () => {
        this.#fresh = false;
        confirmDirectory(this.#data);
      },
      learnMeta: (generation) => this.#metaGroup.learn(generation),
      outdated: (map) => this.#checkStanding(map),
    });
    keeper.run().catch((error: unknown) => {
      this.#logger.error({ err: error }, 'the shard map is no longer kept by this member');
    });
  }

  #startTasks(messages: PeerMessages): void {
    this.#metrics.statusSource(() => this.#replicas.all().map((replica) => replica.status()));
    this.#cleanups.push(() => this.host.served.close());
    this.#cleanups.push(this.host.watchHalts());
    this.#startCopies();
    this.#cleanups.push(this.host.watchRemoteLeaders());
    this.host.mover.start();
    this.#metrics.moves.source(() => this.host.drivenMoves());
    this.#cleanups.push(this.host.slotLoads.start());
    this.#cleanups.push(() => this.host.mover.stop());
    this.#cleanups.push(
      startPlacement({
        clock: systemClock,
        logger: this.#logger,
        replicas: this.#replicas,
        self: this.#cluster.self.id,
        map: () => this.host.map(),
        isReachable: (peer) => messages.isReachable(peer),
        isHeld: (shard) => this.host.held.has(shard),
      }),
    );
    const timer = setInterval(() => {
      this.#verify().then(
        (problems) => this.#onLogProblems(problems),
        (error: unknown) =>
          this.#logger.warn({ err: error }, 'cannot check the settings of the log'),
      );
    }, VERIFY_MS);
    this.#cleanups.push(() => clearInterval(timer));
  }

  #balanceLoad(peers: PeerTransport): void {
    const { slotLoads, mapEditor: editor, self } = this.host;
    const [logger, replicas, clock] = [this.#logger, this.#replicas, systemClock];
    const map = (): ShardMap => this.host.map();
    const loadOf = (shard: string): number => slotLoads.rateOf(shard);
    this.#cleanups.push(
      startLoadBalancing({ self, clock, logger, replicas, loadOf, peers, editor, map }),
    );
  }

  async #verify(): Promise<LogProblems> {
    const found = await this.#options.logs.verify();
    return [...found, ...((await this.#election?.verify()) ?? [])];
  }

  #startCopies(): void {
    const { store, intervalMs, keep, endpoint, pathStyle } = this.#options.config.snapshots;
    if (store === undefined) return;
    const copies = new SnapshotCopies({
      open: () =>
        openSnapshotStore({
          store,
          endpoint,
          pathStyle: pathStyle ? true : undefined,
        }),
      intervalMs,
      keep,
      clusterId: this.#cluster.id,
      clock: systemClock,
      logger: this.#logger,
      metrics: this.#metrics.copies,
      copied: this.#copied,
      led: () => this.#replicas.all().filter((replica) => this.#replicas.leads(replica.shard)),
    });
    copies.start();
    this.host.setCopies(copies);
    this.#cleanups.push(() => copies.stop());
  }

  #onLogProblems(problems: LogProblems): void {
    this.#metrics.logProblems.set(problems.length);
    for (const { log, problem } of problems)
      this.#logger.warn({ log, problem }, 'the log is not safe');
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const error = new KvError('KV_STOPPED', `member ${this.name} is stopping`);
    this.host.setStopping(error);
    this.#abort.abort();
    await this.host.giveLeadershipAway(TRANSFER_MS);
    await this.#client?.stop(error, GRACE_MS);
    await this.#cleanUp();
    if (this.#peers !== undefined) this.#logger.info('member stopped');
  }

  kill(): Promise<void> {
    this.#stopping ??= this.#kill();
    return this.#stopping;
  }

  /** All that others could notice happens in this turn of the event loop. */
  async #kill(): Promise<void> {
    this.host.setStopping(new KvError('KV_STOPPED', `member ${this.name} was killed`));
    this.#abort.abort();
    await Promise.all([
      this.#client?.kill(),
      this.#peers?.close(),
      this.#election?.close(),
      ...this.#replicas.all().map((replica) => replica.stop()),
    ]);
    await this.#cleanUp();
  }

  async #cleanUp(): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) {
      try {
        await cleanup();
      } catch (failure) {
        this.#logger.error({ err: failure }, 'closing failed');
      }
    }
  }
}
