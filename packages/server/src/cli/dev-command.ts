import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { KvError } from '@kvorum/base';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import type { KvdConfig } from '../config/schema.ts';
import { createLogger } from '../logger.ts';
import { type Member, startMember } from '../member/member.ts';
import { pause } from '../member/system.ts';
import { serverVersion } from '../version.ts';
import { type OpenedLogs, openConfiguredLogs } from './open-logs.ts';
import { runUntilSignal, type Service } from './run-until-signal.ts';

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

/** Several members in one process: real elections over real connections, one shared log. */
export class DevCluster implements Service {
  readonly members: Member[] = [];
  readonly #options: DevOptions;
  readonly directory: string;
  readonly #opened: OpenedLogs[] = [];

  constructor(options: DevOptions) {
    this.#options = options;
    this.directory = options.ephemeral
      ? mkdtempSync(join(tmpdir(), 'kvorum-dev-'))
      : resolve(options.dataDir);
  }

  async start(signal: AbortSignal): Promise<void> {
    const configs = devConfigs(this.#options, this.directory);
    // The embedded log is one LevelDB that this process alone may open; Kafka connections are each member's own.
    const shared =
      this.#options.log === 'local' ? await this.#openLogs(configs[0]?.config) : undefined;
    const starts = configs.map(async ({ config }) => {
      const opened = shared ?? (await this.#openLogs(config));
      if (opened === undefined) return;
      const member = await startMember({
        config,
        version: serverVersion(),
        logger: createLogger(config),
        logs: opened.forMember(),
        logWhere: opened.where,
        signal,
      });
      this.members.push(member);
    });
    const results = await Promise.allSettled(starts);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await this.#untilReady(signal);
  }

  async #openLogs(config: KvdConfig | undefined): Promise<OpenedLogs | undefined> {
    if (config === undefined) return undefined;
    const opened = await openConfiguredLogs(
      config,
      join(this.directory, 'log'),
      createLogger(config),
    );
    this.#opened.push(opened);
    return opened;
  }

  async #untilReady(signal: AbortSignal): Promise<void> {
    const until = performance.now() + READY_MS_MAX;
    while (!this.members.every((member) => member.host.readiness().every((check) => check.ok))) {
      if (signal.aborted) throw new KvError('KV_STOPPED');
      if (performance.now() > until) return;
      await pause(READY_POLL_MS, signal);
    }
  }

  async stop(): Promise<void> {
    // One after the other, so that each hands its leaderships to a member that still runs.
    for (const member of this.members) await member.stop();
    for (const opened of this.#opened) await opened.close();
    if (this.#options.ephemeral) rmSync(this.directory, { recursive: true, force: true });
  }
}

function greeting(cluster: DevCluster, options: DevOptions): string {
  const rows = [...cluster.members]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((member) => `  ${member.name}  http://${member.clientAddress}`);
  const log = options.log === 'kafka' ? `Kafka at ${options.brokers.join(', ')}` : 'embedded log';
  const kept = options.ephemeral ? 'removed at exit' : 'kept between runs';
  const endpoints =
    options.clientPort === 2379 ? '' : ` --endpoints 127.0.0.1:${options.clientPort}`;
  return [
    `Kvorum ${serverVersion()}: ${options.members} members, ${options.shards} shards, ${log}`,
    ...rows,
    `data in ${cluster.directory} (${kept}); REST and its documentation at http://127.0.0.1:${options.clientPort}/docs`,
    '',
    'Try, in another terminal:',
    `  npx kvctl${endpoints} put greeting hello`,
    `  npx kvctl${endpoints} get greeting`,
    `  npx kvctl${endpoints} status`,
    '',
    'Ctrl-C stops.',
    '',
  ].join('\n');
}

/** `kvd dev`: a whole cluster in this process until a signal. Returns the exit code. */
export async function dev(options: DevOptions): Promise<number> {
  const cluster = new DevCluster(options);
  return runUntilSignal({
    async start(signal) {
      await cluster.start(signal);
      process.stdout.write(greeting(cluster, options));
    },
    stop: () => cluster.stop(),
  });
}
