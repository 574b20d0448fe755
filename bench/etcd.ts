import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../scripts/free-ports.ts';
import { logTail, progress, type Started, type Workspace, waitUntil } from './processes.ts';
import { REPO_ROOT } from './repo-root.ts';

/** Under node_modules, so that git ignores it and a fresh install removes it. */
const CACHE_DIR = join(REPO_ROOT, 'node_modules/.cache/kvorum-bench/etcd');
const READY_TIMEOUT_MS = 30_000;
const PAGE_TIMEOUT_MS = 2000;
const QUOTA_BYTES = 8 * 2 ** 30;

/** etcd 3.4 refuses to start on other machines than x64 unless it is told. */
const ARCH: NodeJS.ProcessEnv =
  process.arch === 'x64' ? {} : { ETCD_UNSUPPORTED_ARCH: process.arch };

/** A running etcd with three members. */
export interface EtcdCluster {
  readonly version: string;
  readonly endpoints: readonly string[];
  readonly pids: readonly number[];
  /** host:port of the member that leads now. */
  leader(): Promise<string>;
  /** Stops all members and starts them again on their data; resolves when they are healthy. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * The etcd program: on the PATH, else in the cache, else Debian's package unpacked into the cache (needs no root).
 * Undefined, with the reason on stderr, when there is none.
 */
export function findEtcd(): string | undefined {
  const cached = join(CACHE_DIR, 'root/usr/bin/etcd');
  for (const candidate of ['etcd', cached]) {
    if (versionOf(candidate) !== undefined) return candidate;
  }
  progress('etcd is not on the PATH; trying the package etcd-server of Debian or Ubuntu');
  try {
    mkdirSync(CACHE_DIR, { recursive: true });
    execFileSync('apt-get', ['download', 'etcd-server'], { cwd: CACHE_DIR, stdio: 'ignore' });
    const archive = readdirSync(CACHE_DIR).find((name) => name.endsWith('.deb'));
    if (archive === undefined) return undefined;
    execFileSync('dpkg', ['-x', archive, 'root'], { cwd: CACHE_DIR, stdio: 'ignore' });
  } catch (error) {
    progress(`no etcd: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  return existsSync(cached) && versionOf(cached) !== undefined ? cached : undefined;
}

function versionOf(command: string): string | undefined {
  try {
    const text = execFileSync(command, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return /etcd Version: (\S+)/.exec(text)?.[1];
  } catch {
    return undefined; // not there, or not for this machine
  }
}

/**
 * Starts three members on free loopback ports, data in the workspace. Everything is etcd's default but the space quota,
 * which the default of 2 GiB would end the run with.
 */
export async function startEtcd(workspace: Workspace, command: string): Promise<EtcdCluster> {
  const dir = mkdtempSync(join(workspace.dir, 'etcd-'));
  const ports = await freePorts(6);
  const client = ports.slice(0, 3).map((port) => `127.0.0.1:${port}`);
  const peer = ports.slice(3).map((port) => `127.0.0.1:${port}`);
  const initial = peer.map((address, i) => `m${i}=http://${address}`).join(',');
  const argsOf = (i: number): string[] => {
    const clientUrl = `http://${client[i] ?? ''}`;
    const peerUrl = `http://${peer[i] ?? ''}`;
    return [
      ...['--name', `m${i}`, '--data-dir', join(dir, `m${i}`)],
      ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', initial, '--initial-cluster-token', 'kvorum-bench'],
      ...['--quota-backend-bytes', String(QUOTA_BYTES), '--log-level', 'warn'],
    ];
  };
  let members: readonly Started[] = [];
  const start = async (): Promise<void> => {
    members = client.map((_, i) => workspace.spawn(`etcd-${i}`, command, argsOf(i), ARCH));
    await untilHealthy(client, members);
  };
  const stop = async (): Promise<void> => {
    await Promise.all(members.map((member) => workspace.stop(member)));
  };
  await start();
  return {
    version: versionOf(command) ?? 'unknown',
    endpoints: client,
    get pids() {
      return members.map((member) => member.pid);
    },
    leader: async () => findLeader(client),
    restart: async () => {
      await stop();
      await start();
    },
    stop,
  };
}

async function untilHealthy(
  endpoints: readonly string[],
  members: readonly Started[],
): Promise<void> {
  const healthy = async (endpoint: string): Promise<boolean> =>
    (await readPage(`http://${endpoint}/health`)).includes('true');
  try {
    await waitUntil('etcd to be healthy', READY_TIMEOUT_MS, async () =>
      (await Promise.all(endpoints.map(healthy))).every(Boolean),
    );
  } catch (error) {
    for (const member of members) progress(`${member.name}: ${logTail(member)}`);
    throw error;
  }
}

async function readPage(url: string): Promise<string> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(PAGE_TIMEOUT_MS) });
  return answer.text();
}

async function findLeader(endpoints: readonly string[]): Promise<string> {
  for (const endpoint of endpoints) {
    const metrics = await readPage(`http://${endpoint}/metrics`);
    if (/^etcd_server_is_leader 1$/m.test(metrics)) return endpoint;
  }
  throw new Error('no member of etcd says that it leads');
}
