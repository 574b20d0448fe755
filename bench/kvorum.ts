import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freeDevPort, freePorts } from '../scripts/free-ports.ts';
import {
  GivenUp,
  logTail,
  progress,
  type Started,
  sleep,
  type Workspace,
  waitUntil,
} from './processes.ts';
import { REPO_ROOT } from './repo-root.ts';
import { benchKey } from './worker/load-spec.ts';
import { memoryOf } from './worker/process-usage.ts';

const KVD = join(REPO_ROOT, 'packages/server/dist/main.js');
const READY_TIMEOUT_MS = 90_000;
const SPREAD_TIMEOUT_MS = 30_000;
const MEMBER_COUNT = 3;
/** Keys asked for until each is answered: with so many every shard is almost surely among them. */
const PROBE_KEYS = 64;
const PROBE_EVERY_MS = 10;
const PROBE_TIMEOUT_MS = 1000;

/** How to start one kvd process again. */
interface Launch {
  readonly name: string;
  readonly args: readonly string[];
  readonly endpoint: string;
  /** Arguments of Node itself, before the script. */
  readonly nodeArgs?: readonly string[];
}

/** A running Kvorum: its kvd processes and where they listen. */
export class KvorumCluster {
  readonly name: string;
  readonly endpoints: readonly string[];
  readonly #workspace: Workspace;
  readonly #launches: readonly Launch[];
  #members: readonly Started[] = [];

  private constructor(workspace: Workspace, name: string, launches: readonly Launch[]) {
    this.name = name;
    this.endpoints = launches.map(({ endpoint }) => endpoint);
    this.#workspace = workspace;
    this.#launches = launches;
  }

  get pids(): readonly number[] {
    return this.#members.map((member) => member.pid);
  }

  /** `kvd dev --members 1`: everything in one process, on the embedded log. */
  static async startEmbedded(workspace: Workspace, shards: number): Promise<KvorumCluster> {
    const port = await freeDevPort(1);
    const dataDir = join(workspace.dir, 'embedded');
    const args = ['dev', '--members', '1', '--shards', String(shards), '--data-dir', dataDir];
    const launch = {
      name: 'kvd-embedded',
      args: [...args, '--client-port', String(port)],
      endpoint: `127.0.0.1:${port}`,
    };
    return new KvorumCluster(workspace, 'embedded', [launch]).#startAll();
  }

  /** Three kvd processes whose shards are topics of these brokers. */
  static async startOnKafka(
    workspace: Workspace,
    brokers: readonly string[],
    shards: number,
    options: {
      readonly nodeArgs?: readonly string[];
      readonly name?: string;
      /** Settings of the members beside the usual ones. */
      readonly settings?: Readonly<Record<string, unknown>>;
    } = {},
  ): Promise<KvorumCluster> {
    const { nodeArgs = [], name = `kafka-${shards}`, settings = {} } = options;
    const dir = mkdtempSync(join(workspace.dir, `${name}-`));
    const ports = await freePorts(2 * MEMBER_COUNT);
    const members = Array.from({ length: MEMBER_COUNT }, (_, i) => ({
      name: `m${i + 1}`,
      client: `127.0.0.1:${ports[2 * i] ?? 0}`,
      peer: `127.0.0.1:${ports[2 * i + 1] ?? 0}`,
    }));
    const prefix = `bench-${process.pid}-${Date.now().toString(36)}-${name}-`;
    const launches = members.map((member) => {
      const file = join(dir, `${member.name}.yaml`);
      mkdirSync(join(dir, member.name));
      // JSON is YAML.
      const config = {
        name: member.name,
        clusterName: `bench-${shards}`,
        dataDir: join(dir, member.name),
        shards,
        members,
        listenClient: member.client,
        listenPeer: member.peer,
        log: { kind: 'kafka', brokers, topicPrefix: prefix },
        logLevel: 'warn',
        ...settings,
      };
      writeFileSync(file, JSON.stringify(config, undefined, 2));
      return {
        name: `kvd-${name}-${member.name}`,
        args: ['--config', file],
        endpoint: member.client,
        nodeArgs,
      };
    });
    return new KvorumCluster(workspace, name, launches).#startAll();
  }

  async #startAll(): Promise<this> {
    this.launch();
    try {
      await waitUntil(`${this.name} to be ready`, READY_TIMEOUT_MS, async () => {
        const ended = this.#members.find((member) => !this.#workspace.isRunning(member));
        if (ended !== undefined) throw new GivenUp(`${ended.name} ended by itself`);
        return (await Promise.all(this.endpoints.map(isReady))).every(Boolean);
      });
    } catch (error) {
      for (const member of this.#members) progress(`${member.name}: ${logTail(member)}`);
      throw error;
    }
    await this.untilSpread();
    return this;
  }

  /** Starts every process that does not run, without waiting for anything. */
  launch(): void {
    this.#members = this.#launches.map(({ name, args, nodeArgs }, i) => {
      const member = this.#members[i];
      if (member !== undefined && this.#workspace.isRunning(member)) return member;
      return this.#workspace.spawn(name, process.execPath, [...(nodeArgs ?? []), KVD, ...args]);
    });
  }

  /** Waits until every member is ready and leads its share of the shards. Says so when that does not happen. */
  async untilSpread(): Promise<void> {
    try {
      await waitUntil('leaders to be spread evenly', SPREAD_TIMEOUT_MS, async () => {
        if (!(await Promise.all(this.endpoints.map(isReady))).every(Boolean)) return false;
        const shards = await readShards(this.endpoints[0] ?? '');
        const share = Math.ceil(shards.length / this.endpoints.length);
        const counts = new Map<string, number>();
        for (const { leader } of shards) {
          if (leader === undefined) return false;
          counts.set(leader, (counts.get(leader) ?? 0) + 1);
        }
        return Array.from(counts.values()).every((count) => count <= share + 1);
      });
    } catch (error) {
      progress(`${this.name}: ${String(error)}; measured as it is`);
    }
  }

  /** SIGKILL to every process at once; resolves when all are gone. */
  async killAll(): Promise<void> {
    await Promise.all(this.#members.map((member) => this.#workspace.kill(member)));
  }

  /** Milliseconds until a linearizable get of every probe key was answered, counted from the call. */
  async untilServing(keyCount: number): Promise<number> {
    const startedAt = performance.now();
    const open = new Set(
      Array.from({ length: PROBE_KEYS }, (_, i) => Math.floor((i * keyCount) / PROBE_KEYS)),
    );
    let turn = 0;
    while (open.size > 0) {
      if (performance.now() - startedAt > READY_TIMEOUT_MS)
        throw new Error('the cluster does not serve');
      const endpoint = this.endpoints[turn % this.endpoints.length] ?? '';
      turn += 1;
      const found = await Promise.all(
        Array.from(open, async (index) => ((await hasKey(endpoint, index)) ? index : undefined)),
      );
      for (const index of found) if (index !== undefined) open.delete(index);
      if (open.size > 0) await sleep(PROBE_EVERY_MS);
    }
    return performance.now() - startedAt;
  }

  /** SIGKILL to one member, by its number from 0. */
  async kill(index: number): Promise<void> {
    const member = this.#members[index];
    if (member === undefined) throw new Error(`the cluster has no member ${index}`);
    await this.#workspace.kill(member);
  }

  /** Kills the member that leads most data shards. Answers which shards it led. */
  async killBusiestLeader(): Promise<readonly string[]> {
    const shards = (await readShards(this.endpoints[0] ?? '')).filter(
      ({ shard }) => shard !== 'meta',
    );
    const led = await Promise.all(
      this.endpoints.map(async (endpoint) => {
        const id = await memberIdOf(endpoint);
        return shards.filter(({ leader }) => leader === id).map(({ shard }) => shard);
      }),
    );
    const victim = led.reduce(
      (best, mine, i) => (mine.length > (led[best]?.length ?? 0) ? i : best),
      0,
    );
    const member = this.#members[victim];
    if (member === undefined) throw new Error('the cluster has no member to kill');
    await this.#workspace.kill(member);
    return led[victim] ?? [];
  }

  /** The largest resident memory among the members, now and at its peak. */
  memory(): { readonly rssBytes: number; readonly rssPeakBytes: number } {
    const all = this.pids.map((pid) => memoryOf(pid));
    return {
      rssBytes: Math.max(...all.map((each) => each?.rssBytes ?? Number.NaN)),
      rssPeakBytes: Math.max(...all.map((each) => each?.rssPeakBytes ?? Number.NaN)),
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#members.map((member) => this.#workspace.stop(member)));
  }
}

async function fetchQuick(url: string): Promise<Response> {
  return fetch(url, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
}

async function isReady(endpoint: string): Promise<boolean> {
  return (await fetchQuick(`http://${endpoint}/readyz`)).ok;
}

interface ShardLeader {
  readonly shard: string;
  readonly leader?: string;
}

async function readShards(endpoint: string): Promise<readonly ShardLeader[]> {
  return (await (
    await fetchQuick(`http://${endpoint}/v1/shards`)
  ).json()) as readonly ShardLeader[];
}

async function memberIdOf(endpoint: string): Promise<string> {
  const status = (await (await fetchQuick(`http://${endpoint}/v1/status`)).json()) as {
    readonly member: { readonly id: string };
  };
  return status.member.id;
}

async function hasKey(endpoint: string, index: number): Promise<boolean> {
  const key = new TextDecoder().decode(benchKey(index));
  try {
    const answer = await fetchQuick(`http://${endpoint}/v1/kv/keys/${key}`);
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false; // nobody listens yet, or not in time
  }
}
