import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const KVD = resolve(import.meta.dirname, '../../packages/server/dist/main.js');

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
}

interface Member {
  readonly address: MemberAddress;
  readonly configPath: string;
  process: ChildProcess | undefined;
  log: string;
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Real `kvd` processes on a real Kafka, with the faults an operator's machine has: kill -9, SIGSTOP, restart. */
export class ProcessCluster {
  readonly directory: string;
  readonly #members: Member[];

  private constructor(directory: string, members: Member[]) {
    this.directory = directory;
    this.#members = members;
  }

  static async start(options: ProcessClusterOptions): Promise<ProcessCluster> {
    const count = options.members ?? 3;
    const ports = await freePorts(2 * count);
    const addresses: MemberAddress[] = Array.from({ length: count }, (_, i) => ({
      name: `m${i + 1}`,
      client: `http://127.0.0.1:${ports[2 * i]}`,
      peer: `127.0.0.1:${ports[2 * i + 1]}`,
    }));
    const directory = mkdtempSync(join(tmpdir(), 'kvorum-e2e-'));
    const members = addresses.map((address) => {
      const configPath = join(directory, `${address.name}.yaml`);
      writeFileSync(configPath, memberConfig(options, addresses, address, directory));
      return { address, configPath, process: undefined, log: '' };
    });
    const cluster = new ProcessCluster(directory, members);
    await Promise.all(members.map((_, i) => cluster.restart(i)));
    return cluster;
  }

  get endpoints(): readonly string[] {
    return this.#members.map((member) => member.address.client);
  }

  get size(): number {
    return this.#members.length;
  }

  /** Everything member `i` has printed; for failure messages. */
  output(i: number): string {
    return this.#member(i).log;
  }

  pid(i: number): number | undefined {
    return this.#member(i).process?.pid;
  }

  async kill(i: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const member = this.#member(i);
    const child = member.process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
    member.process = undefined;
  }

  pause(i: number): void {
    this.#member(i).process?.kill('SIGSTOP');
  }

  resume(i: number): void {
    this.#member(i).process?.kill('SIGCONT');
  }

  /** Starts member `i` (again) on its data and waits until it is ready. */
  async restart(i: number): Promise<void> {
    await this.spawn(i);
    await this.ready(i);
  }

  async spawn(i: number): Promise<void> {
    const member = this.#member(i);
    const child = spawn(process.execPath, [KVD, '--config', member.configPath], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    member.process = child;
    const file = createWriteStream(join(this.directory, `${member.address.name}.log`), { flags: 'a' });
    const collect = (chunk: Buffer): void => {
      file.write(chunk);
      member.log = (member.log + chunk.toString()).slice(-20_000);
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    await once(child, 'spawn');
  }

  async ready(i: number, timeoutMs = 60_000): Promise<void> {
    const { address } = this.#member(i);
    const untilMs = Date.now() + timeoutMs;
    for (;;) {
      const child = this.#member(i).process;
      if (child === undefined || child.exitCode !== null) {
        throw new TypeError(`${address.name} exited (${child?.exitCode}):\n${this.output(i)}`);
      }
      const answer = await fetch(`${address.client}/readyz`).catch(() => undefined);
      if (answer?.ok === true) return;
      if (Date.now() > untilMs) throw new TypeError(`${address.name} is not ready:\n${this.output(i)}`);
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
): string {
  return JSON.stringify({
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
  });
}
