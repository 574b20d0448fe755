import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { utf8 } from '@kvorum/base';
import { openLocalLogs } from '@kvorum/log-local';
import type { LogEntry, LogSpec, SharedLogs } from '@kvorum/ports';
import { createLogger, loadConfig, type Member, startMember } from '@kvorum/server';
import { freePorts } from '../../../../scripts/free-ports.ts';
import { temporaryDirectory } from './one-member.ts';

type Logs = Awaited<ReturnType<typeof openLocalLogs>>;
interface Address {
  readonly name: string;
  readonly peer: string;
  readonly client: string;
}

function breakable(logs: SharedLogs, brokenFrom: (log: string) => number): SharedLogs {
  return {
    open: async (spec, options) => {
      const log = await logs.open(spec, options);
      const garbled = ({ offset, bytes }: LogEntry): LogEntry => {
        return { offset, bytes: offset >= brokenFrom(log.name) ? utf8('?') : bytes };
      };
      return {
        name: log.name,
        append: (record) => log.append(record),
        bounds: () => log.bounds(),
        truncate: (before) => log.truncate(before),
        close: () => log.close(),
        read: async (...range) => {
          const found = await log.read(...range);
          if (found.kind !== 'records') return found;
          return { ...found, entries: found.entries.map(garbled) };
        },
      };
    },
    verify: () => logs.verify(),
    close: () => logs.close(),
  };
}

/** Members of one cluster in one process, on one embedded log. */
export class TestCluster {
  readonly directory = temporaryDirectory();
  readonly running = new Map<string, Member>();
  readonly addresses: Address[] = [];
  #logs: Promise<Logs> | undefined;
  /** Name of a log → first offset from which everybody reads garbage. */
  readonly #broken = new Map<string, number>();
  /** Who goes on reading what was written. */
  #spared: string | undefined;

  async addressOf(name: string): Promise<Address> {
    const known = this.addresses.find((one) => one.name === name);
    if (known !== undefined) return known;
    const [peer, client] = await freePorts(2);
    const address = { name, peer: `127.0.0.1:${peer}`, client: `127.0.0.1:${client}` };
    this.addresses.push(address);
    return address;
  }

  async start(
    name: string,
    values: Readonly<Record<string, unknown>> = {},
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Member> {
    const logDirectory = join(this.directory.path, 'log');
    if (this.#logs === undefined) {
      mkdirSync(logDirectory, { recursive: true });
      this.#logs = openLocalLogs({ directory: logDirectory });
    }
    const logs = await this.#logs;
    const own = await this.addressOf(name);
    const { config } = loadConfig({
      environment: {},
      flags: {},
      preset: { logLevel: 'silent' },
      fixed: {
        name,
        dataDir: this.dataOf(name),
        listenClient: own.client,
        listenPeer: own.peer,
        members: this.addresses,
        shards: 2,
        dev: true,
        'limits.heartbeatMs': 20,
        'limits.electionMsMin': 200,
        'limits.electionMsMax': 400,
        ...values,
      },
    });
    const member = await startMember({
      config,
      version: '0.0.0-test',
      logger: createLogger(config),
      logs: breakable(logs.forMember(), (log) =>
        this.#spared === name ? Infinity : (this.#broken.get(log) ?? Infinity),
      ),
      logWhere: logDirectory,
      signal,
    });
    this.running.set(name, member);
    return member;
  }

  dataOf(name: string): string {
    return join(this.directory.path, name);
  }

  async found(
    names: readonly string[],
    values: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    for (const name of names) await this.addressOf(name);
    await Promise.all(names.map((name) => this.start(name, values)));
    await this.until(() => this.members.every(isReady));
  }

  get members(): readonly Member[] {
    return [...this.running.values()];
  }

  member(name: string): Member {
    const member = this.running.get(name);
    if (member === undefined) throw new Error(`${name} does not run`);
    return member;
  }

  async stop(name: string): Promise<void> {
    const member = this.member(name);
    this.running.delete(name);
    await member.stop();
  }

  async until(holds: () => boolean): Promise<void> {
    const endMs = Date.now() + 20_000;
    while (!holds()) {
      if (Date.now() > endMs) throw new Error(`it never held: ${holds.toString()}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Whoever reads what is appended to the log from now on, or what was last, halts; but for one member. */
  async breakLog(spec: LogSpec, sparing?: string): Promise<void> {
    this.#spared = sparing;
    const log = await (await this.#logs)?.forMember().open(spec, { create: false });
    const bounds = await log?.bounds();
    if (log === undefined || bounds === undefined || 'kind' in bounds) throw new Error('no log');
    this.#broken.set(log.name, bounds.end);
  }

  /** Names of the voters of a shard, as its leader has them. */
  votersOf(shard: string): readonly string[] {
    const leader = this.members.find((member) => member.host.leads(shard));
    const { raft } = leader?.host.replica(shard)?.status() ?? { raft: { voters: [] } };
    const names = new Map(leader?.host.members.map(({ id, name }) => [BigInt(`0x${id}`), name]));
    return raft.voters.map((id) => names.get(id) ?? 'unknown').sort();
  }

  async put(key: string): Promise<void> {
    const [member] = this.members;
    const deadlineMs = (member?.host.clock.nowMs() ?? 0) + 20_000;
    await member?.host.router.execute(
      { op: 'put', key: utf8(key), value: utf8('v') },
      { deadlineMs },
    );
  }

  async count(prefix: string): Promise<number> {
    let count = 0;
    for (const member of this.members.slice(0, 1)) {
      const deadlineMs = member.host.clock.nowMs() + 20_000;
      const [key, rangeEnd] = [utf8(prefix), utf8(`${prefix}~`)];
      const { response } = await member.host.router.execute(
        { op: 'range', key, rangeEnd },
        { deadlineMs },
      );
      if (response.op === 'range') count = response.kvs.length;
    }
    return count;
  }

  async dispose(): Promise<void> {
    for (const name of [...this.running.keys()]) await this.stop(name);
    await (await this.#logs)?.close();
    this.directory.remove();
  }
}

const isReady = (member: Member): boolean => member.host.readiness().every((check) => check.ok);
