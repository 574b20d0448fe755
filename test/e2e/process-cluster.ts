import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePorts } from '../../scripts/free-ports.ts';
import { Command, type CommandEnd, KVD } from './command.ts';

export interface MemberAddress {
  readonly name: string;
  readonly peer: string;
  readonly client: string;
}

export interface ProcessClusterOptions {
  readonly members?: number;
  readonly shards?: number;
  readonly bootstrap: string;
  readonly topicPrefix: string;
  readonly clusterName?: string;
  /** More of the configuration file, over what the cluster sets itself. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** The same for one member alone. */
  readonly memberConfig?: (
    self: MemberAddress,
    members: readonly MemberAddress[],
  ) => Readonly<Record<string, unknown>>;
  /** Environment variables of one member, besides those of this process. */
  readonly environment?: (self: MemberAddress) => Readonly<Record<string, string>>;
  /** Two a member; free ones when absent. */
  readonly ports?: readonly number[];
}

interface Member {
  readonly address: MemberAddress;
  readonly configPath: string;
  command: Command | undefined;
}

/** Real `kvd` processes on a real Kafka, with the faults an operator's machine has: kill -9, SIGSTOP, restart. */
export class ProcessCluster {
  readonly directory: string;
  readonly #options: ProcessClusterOptions;
  readonly #members: Member[];

  private constructor(directory: string, options: ProcessClusterOptions, members: Member[]) {
    this.directory = directory;
    this.#options = options;
    this.#members = members;
  }

  /** Directory, ports and configuration files; nothing runs yet. */
  static async prepare(options: ProcessClusterOptions): Promise<ProcessCluster> {
    const count = options.members ?? 3;
    const ports = options.ports ?? (await freePorts(2 * count));
    const directory = mkdtempSync(join(tmpdir(), 'kvorum-e2e-'));
    const members: Member[] = Array.from({ length: count }, (_, i) => ({
      address: {
        name: `m${i + 1}`,
        client: `http://127.0.0.1:${ports[2 * i]}`,
        peer: `127.0.0.1:${ports[2 * i + 1]}`,
      },
      configPath: join(directory, `m${i + 1}.yaml`),
      command: undefined,
    }));
    const cluster = new ProcessCluster(directory, options, members);
    cluster.configure();
    return cluster;
  }

  /** Starts all members and waits until they are ready; a failed start leaves nothing running. */
  static async start(options: ProcessClusterOptions): Promise<ProcessCluster> {
    const cluster = await ProcessCluster.prepare(options);
    process.stderr.write(`cluster of ${cluster.size} at ${cluster.endpoints.join(', ')}\n`);
    try {
      await Promise.all(cluster.#members.map((_, i) => cluster.restart(i)));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get endpoints(): readonly string[] {
    return this.#members.map((member) => member.address.client);
  }

  get size(): number {
    return this.#members.length;
  }

  /** Everything member `i` has printed since its last start; for failure messages. */
  output(i: number): string {
    return this.#member(i).command?.output ?? '';
  }

  pid(i: number): number | undefined {
    return this.#member(i).command?.pid;
  }

  /** Whether member `i` was started and has not ended. */
  running(i: number): boolean {
    return this.#member(i).command?.running ?? false;
  }

  address(i: number): MemberAddress {
    return this.#member(i).address;
  }

  /** How member `i`, which ends by itself, did. Errors: TypeError when it was never started. */
  async ended(i: number): Promise<CommandEnd> {
    const { command, address } = this.#member(i);
    if (command === undefined) throw new TypeError(`${address.name} was never started`);
    return command.end();
  }

  configPath(i: number): string {
    return this.#member(i).configPath;
  }

  /** Writes every member's configuration file, with changes that last until the next call. */
  configure(changes: Readonly<Record<string, unknown>> = {}): void {
    const addresses = this.#members.map(({ address }) => address);
    for (const { address, configPath } of this.#members) {
      const config = memberConfig(this.#options, addresses, address, this.directory);
      const own = this.#options.memberConfig?.(address, addresses);
      writeFileSync(configPath, JSON.stringify({ ...config, ...own, ...changes }));
    }
  }

  async kill(i: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#member(i).command?.kill(signal);
  }

  pause(i: number): void {
    this.#member(i).command?.signal('SIGSTOP');
  }

  resume(i: number): void {
    this.#member(i).command?.signal('SIGCONT');
  }

  /** Starts member `i` (again) on its data and waits until it is ready. */
  async restart(i: number): Promise<void> {
    this.spawn(i);
    await this.ready(i);
  }

  spawn(i: number): Command {
    const member = this.#member(i);
    member.command = new Command(KVD, ['--config', member.configPath], {
      logFile: join(this.directory, `${member.address.name}.log`),
      environment: this.#options.environment?.(member.address) ?? {},
    });
    return member.command;
  }

  /** Starts member `i`, which is expected to end by itself, and answers how it did. */
  async run(i: number, timeoutMs?: number): Promise<CommandEnd> {
    return this.spawn(i).end(timeoutMs);
  }

  async ready(i: number, timeoutMs = 90_000): Promise<void> {
    const { address, command } = this.#member(i);
    const untilMs = Date.now() + timeoutMs;
    for (;;) {
      if (command === undefined || !command.running) {
        throw new TypeError(`${address.name} exited:\n${this.output(i)}`);
      }
      const answer = await fetch(`${address.client}/readyz?verbose`).catch(() => undefined);
      if (answer?.ok === true) return;
      if (Date.now() > untilMs) {
        const checks = (await answer?.text()) ?? 'no answer';
        throw new TypeError(`${address.name} is not ready: ${checks}\n${this.output(i)}`);
      }
      await pause(100);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#members.map(async (_, i) => {
        this.resume(i);
        await this.kill(i);
      }),
    );
    rmSync(this.directory, { recursive: true, force: true });
  }

  #member(i: number): Member {
    const member = this.#members[i];
    if (member === undefined) throw new TypeError(`no member ${i}`);
    return member;
  }
}

/** YAML is a superset of JSON. */
function memberConfig(
  options: ProcessClusterOptions,
  members: readonly MemberAddress[],
  self: MemberAddress,
  directory: string,
): Readonly<Record<string, unknown>> {
  return {
    name: self.name,
    clusterName: options.clusterName ?? 'e2e',
    dataDir: join(directory, self.name),
    shards: options.shards ?? 4,
    members,
    listenClient: self.client.replace('http://', ''),
    listenPeer: self.peer,
    log: {
      kind: 'kafka',
      brokers: options.bootstrap.split(','),
      topicPrefix: options.topicPrefix,
    },
    logLevel: 'info',
    ...options.config,
  };
}
