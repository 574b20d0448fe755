import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { assert, KvError } from '@kvorum/base';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import type { KvdConfig } from '../config/schema.ts';
import type { Condemned, DevControl } from '../http/dev-routes.ts';
import { createLogger } from '../logger.ts';
import { type Member, startMember } from '../member/member.ts';
import { pause } from '../member/system.ts';
import { serverVersion } from '../version.ts';
import { type OpenedLogs, openConfiguredLogs } from './open-logs.ts';
import type { Service } from './run-until-signal.ts';

export interface DevOptions {
  readonly members: number;
  readonly shards: number;
  readonly dataDir: string;
  readonly clientPort: number;
  readonly ephemeral: boolean;
  readonly log: 'local' | 'kafka';
  readonly brokers: readonly string[];
}

const PORT_STEP = 10;
const READY_POLL_MS = 50;
const READY_MS_MAX = 30_000;
/** A halted shard does not heal: the others are waited for, not that one. */
const READY_MS_MAX_HALTED = 5000;
/** After the restart of one member; less than kvctl waits for an answer. Two of three may be killed: then there is nothing to wait for. */
const READY_MS_MAX_RESTARTED = 3000;

function devConfigs(options: DevOptions, directory: string): LoadedConfig[] {
  const members = Array.from({ length: options.members }, (_, i) => {
    const port = options.clientPort + PORT_STEP * i;
    return { name: `m${i + 1}`, client: `127.0.0.1:${port}`, peer: `127.0.0.1:${port + 1}` };
  });
  return members.map((member) =>
    loadConfig({
      environment: process.env,
      flags: {},
      preset: { logLevel: 'warn', logFormat: 'pretty', clusterName: 'kvorum-dev' },
      fixed: {
        name: member.name,
        dataDir: join(directory, member.name),
        shards: options.shards,
        members,
        listenClient: member.client,
        listenPeer: member.peer,
        dev: true,
        'log.kind': options.log,
        ...(options.brokers.length === 0 ? {} : { 'log.brokers': options.brokers }),
      },
    }),
  );
}

/** A member's place in the cluster, whether it runs or not. */
interface Place {
  readonly config: KvdConfig;
  member: Member | undefined;
  /** It runs, but is about to be killed. */
  condemned: boolean;
  /** Its own connections to Kafka; the embedded log is shared. */
  logs: OpenedLogs | undefined;
}

/** Several members in one process: real elections over real connections, one shared log. */
export class DevCluster implements Service, DevControl {
  readonly directory: string;
  readonly #options: DevOptions;
  readonly #places: readonly Place[];
  readonly #abort = new AbortController();
  #shared: OpenedLogs | undefined;
  /** One member is killed or started at a time. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(options: DevOptions) {
    this.#options = options;
    this.directory = options.ephemeral
      ? mkdtempSync(join(tmpdir(), 'kvorum-dev-'))
      : resolve(options.dataDir);
    this.#places = devConfigs(options, this.directory).map(({ config }) => ({
      config,
      member: undefined,
      condemned: false,
      logs: undefined,
    }));
  }

  /** Those that run, in the order of their names. */
  get members(): readonly Member[] {
    return this.#places.flatMap(({ member }) => member ?? []);
  }

  /** Client address of every member, running or not. */
  get addresses(): readonly string[] {
    return this.#places.map(({ config }) => config.listenClient);
  }

  /** Resolves when every member is ready, or after 30 seconds: what is wrong then, `readiness` of each host tells. */
  async start(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#abort.abort());
    const [first] = this.#places;
    // The embedded log is one LevelDB that this process alone may open; Kafka connections are each member's own.
    if (this.#options.log === 'local' && first !== undefined) {
      this.#shared = await this.#openLogs(first.config);
    }
    const results = await Promise.allSettled(this.#places.map((place) => this.#run(place)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await this.#untilReady(READY_MS_MAX, signal);
  }

  async #run(place: Place): Promise<void> {
    const { config } = place;
    const own = this.#shared === undefined ? await this.#openLogs(config) : undefined;
    const logs = this.#shared ?? own;
    assert(logs !== undefined, 'a member has logs');
    try {
      place.member = await startMember({
        config,
        version: serverVersion(),
        logger: createLogger(config),
        logs: logs.forMember(),
        logWhere: logs.where,
        ...(logs.openElection === undefined ? {} : { openElection: logs.openElection }),
        signal: this.#abort.signal,
        dev: this,
      });
    } catch (error) {
      await own?.close(); // the next try opens its own
      throw error;
    }
    place.logs = own;
  }

  #openLogs(config: KvdConfig): Promise<OpenedLogs> {
    return openConfiguredLogs(config, join(this.directory, 'log'), createLogger(config));
  }

  async #untilReady(maxMs: number, signal: AbortSignal): Promise<void> {
    const startedMs = performance.now();
    while (!this.members.every((member) => member.host.readiness().every((check) => check.ok))) {
      if (signal.aborted) throw new KvError('KV_STOPPED');
      const patienceMs = this.#anyHalted() ? Math.min(maxMs, READY_MS_MAX_HALTED) : maxMs;
      if (performance.now() - startedMs > patienceMs) return;
      await pause(READY_POLL_MS, signal);
    }
  }

  #anyHalted(): boolean {
    return this.members.some(({ host }) =>
      host.replicas().some((replica) => replica.status().raft.halted !== undefined),
    );
  }

  #placeOf(name: string): Place {
    const place = this.#places.find(({ config }) => [name, `m${name}`].includes(config.name));
    if (place !== undefined) return place;
    const names = this.#places.map(({ config }) => config.name).join(', ');
    throw new KvError('KV_INVALID_ARGUMENT', `no member ${name} (members: ${names})`);
  }

  condemn(name: string): Condemned {
    const place = this.#placeOf(name);
    const { config } = place;
    if (place.member === undefined || place.condemned) {
      throw new KvError('KV_INVALID_ARGUMENT', `${config.name} does not run`);
    }
    if (this.#places.filter((one) => one.member !== undefined && !one.condemned).length <= 1) {
      throw new KvError('KV_INVALID_ARGUMENT', `${config.name} is the last member that runs`, {
        details: { hint: 'start another one first, or end the whole cluster with Ctrl-C' },
      });
    }
    place.condemned = true;
    return { name: config.name, kill: () => this.#inTurn(() => this.#kill(place)) };
  }

  async #kill(place: Place): Promise<void> {
    const { member, logs } = place;
    place.member = undefined;
    place.logs = undefined;
    place.condemned = false;
    await member?.kill();
    await logs?.close();
  }

  startMember(name: string): Promise<string> {
    return this.#inTurn(async () => {
      const place = this.#placeOf(name);
      if (place.member !== undefined) {
        throw new KvError('KV_INVALID_ARGUMENT', `${place.config.name} runs already`);
      }
      await this.#run(place);
      // What is asked next, most likely `kvctl status`, should not meet the election that the kill left behind.
      await this.#untilReady(READY_MS_MAX_RESTARTED, this.#abort.signal);
      return place.config.name;
    });
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#busy.then(run);
    this.#busy = done.catch(() => undefined);
    return done;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#busy;
    // One after the other, so that each hands its leaderships to a member that still runs.
    for (const member of this.members) await member.stop();
    for (const { logs } of this.#places) await logs?.close();
    await this.#shared?.close();
    if (this.#options.ephemeral) rmSync(this.directory, { recursive: true, force: true });
  }
}
