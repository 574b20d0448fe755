import { type EtcdCluster, findEtcd, startEtcd } from './etcd.ts';
import { type Brokers, startBrokers } from './kafka.ts';
import { KvorumCluster } from './kvorum.ts';
import { Load } from './load.ts';
import type { Sizes } from './plan.ts';
import { progress, type Workspace } from './processes.ts';
import type { FillResult } from './worker/load-spec.ts';

/** A cluster that is ready to be measured: filled, with a load process connected. */
export interface Filled {
  readonly cluster: KvorumCluster;
  readonly load: Load;
  readonly fill: FillResult;
  readonly memory: ReturnType<KvorumCluster['memory']>;
}

export interface FilledEtcd {
  readonly cluster: EtcdCluster;
  readonly fill: FillResult;
}

/** Overwrites of this many keys warm a fresh cluster up, so that the fill starts with compiled code. */
const WARM_KEYS = 200;
export const FILL_STEP_KEYS = 10_000;
const SEED = 20_240_601;
/** History is kept until a row removes it; the log is cut as soon as it may be, so that who was away needs a snapshot. */
const AGED_SETTINGS = {
  autoCompaction: { mode: 'off' },
  limits: {
    durableMs: 1000,
    truncateMs: 500,
    truncateSlackRecords: 5,
    truncateSlackBytes: 1,
    truncateSlackMs: 1,
  },
};

/** The systems of one run, each started when a row first needs it and kept for the next. */
export class Systems {
  readonly #workspace: Workspace;
  readonly #sizes: Sizes;
  readonly #etcdPath: string | undefined;
  readonly #clusters = new Map<number, Promise<Filled>>();
  #brokers: Promise<Brokers> | undefined;
  #etcd: Promise<FilledEtcd | undefined> | undefined;
  #aged: Promise<Filled> | undefined;
  readonly versions: Record<string, string> = {};

  constructor(workspace: Workspace, sizes: Sizes, etcdPath: string | undefined) {
    this.#workspace = workspace;
    this.#sizes = sizes;
    this.#etcdPath = etcdPath;
  }

  async brokers(): Promise<Brokers> {
    this.#brokers ??= startBrokers(this.#workspace);
    const brokers = await this.#brokers;
    this.versions['kafka'] = brokers.version;
    return brokers;
  }

  /** Undefined when there is no etcd to be had. */
  async etcd(): Promise<FilledEtcd | undefined> {
    this.#etcd ??= this.#startEtcd();
    return this.#etcd;
  }

  async #startEtcd(): Promise<FilledEtcd | undefined> {
    const command = this.#etcdPath ?? findEtcd();
    if (command === undefined) {
      progress(
        'SKIPPED: every row against etcd. Install etcd (Debian: etcd-server) or give --etcd PATH',
      );
      return undefined;
    }
    const cluster = await startEtcd(this.#workspace, command);
    this.versions['etcd'] = cluster.version;
    progress(`etcd ${cluster.version}: 3 members; putting ${this.#sizes.keys} keys`);
    const load = await Load.open(this.#workspace, {
      system: 'grpc',
      endpoints: [await cluster.leader()],
      connectionsPerMember: 4,
    });
    const fill = await load.fill(this.#fillSpec());
    await load.close();
    progress(`etcd: filled in ${fill.seconds.toFixed(1)} s`);
    // A burst of puts leaves etcd 3.4 with large read buffers that every later read copies; a restart forgets them.
    await cluster.restart();
    return { cluster, fill };
  }

  /** The cluster of three members on the brokers with this many shards. */
  async kvorum(shards: number): Promise<Filled> {
    let found = this.#clusters.get(shards);
    if (found === undefined) {
      found = this.#startKvorum(shards);
      this.#clusters.set(shards, found);
    }
    return found;
  }

  async #startKvorum(shards: number): Promise<Filled> {
    const brokers = await this.brokers();
    progress(`kvorum with ${shards} shards on ${brokers.addresses.length} brokers: starting`);
    const cluster = await KvorumCluster.startOnKafka(this.#workspace, brokers.addresses, shards);
    return this.fill(cluster);
  }

  /** A cluster of four shards in which nothing happens by itself that a row is about: see disturbed-rows.ts. */
  async aged(): Promise<Filled> {
    this.#aged ??= this.#startAged();
    return this.#aged;
  }

  async #startAged(): Promise<Filled> {
    const { addresses } = await this.brokers();
    progress('kvorum with 4 shards, for snapshots, compaction and resharding: starting');
    const options = { name: 'aged-4', settings: AGED_SETTINGS };
    const cluster = await KvorumCluster.startOnKafka(this.#workspace, addresses, 4, options);
    return this.fill(cluster);
  }

  async embedded(): Promise<Filled> {
    progress('kvorum, one embedded member: starting');
    return this.fill(await KvorumCluster.startEmbedded(this.#workspace, 4));
  }

  /** Stops a cluster that no later row needs, so that it does not take from them. */
  async stopKvorum(shards: number): Promise<void> {
    const filled = await this.#clusters.get(shards);
    this.#clusters.delete(shards);
    await filled?.load.close();
    await filled?.cluster.stop();
  }

  /** Stops etcd; a row that needs it later starts and fills a new one. */
  async stopEtcd(): Promise<void> {
    const etcd = await this.#etcd;
    this.#etcd = undefined;
    await etcd?.cluster.stop();
  }

  /** Leaves nothing running but the brokers and the aged cluster, if there is one. */
  async onlyAged(): Promise<void> {
    await this.stopEtcd();
    for (const shards of this.#clusters.keys()) await this.stopKvorum(shards);
  }

  /** Leaves nothing running but the brokers, if they do: for rows that need none of it. */
  async none(): Promise<void> {
    await this.onlyAged();
    const aged = await this.#aged;
    this.#aged = undefined;
    await aged?.load.close();
    await aged?.cluster.stop();
  }

  /** Leaves this cluster and the brokers running, and nothing else: systems at rest take their share too. */
  async onlyKvorum(shards: number): Promise<void> {
    await this.stopEtcd();
    for (const other of this.#clusters.keys()) {
      if (other !== shards) await this.stopKvorum(other);
    }
  }

  async fill(cluster: KvorumCluster, nodeArgs: readonly string[] = []): Promise<Filled> {
    const driver = { system: 'kvorum', endpoints: cluster.endpoints } as const;
    const load = await Load.open(this.#workspace, driver, nodeArgs);
    const { valueBytes, fillInFlight, measureMs, keys } = this.#sizes;
    await load.run({
      op: 'put',
      inFlight: fillInFlight,
      warmUpMs: 0,
      measureMs: 2 * measureMs,
      keyCount: WARM_KEYS,
      valueBytes,
      seed: SEED,
      groups: {},
    });
    progress(`${cluster.name}: putting ${keys} keys`);
    const fill = await load.fill(this.#fillSpec());
    const memory = cluster.memory();
    progress(`${cluster.name}: filled in ${fill.seconds.toFixed(1)} s`);
    return { cluster, load, fill, memory };
  }

  #fillSpec(): Parameters<Load['fill']>[0] {
    const { keys, fillInFlight, valueBytes } = this.#sizes;
    return {
      from: 0,
      to: keys,
      inFlight: fillInFlight,
      stepKeys: FILL_STEP_KEYS,
      valueBytes,
      seed: SEED,
    };
  }
}
