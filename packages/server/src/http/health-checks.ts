import { isKvError } from '@kvorum/base';
import type { CommandResult, ReplicaPort } from '@kvorum/replica';
import { isFull } from '../etcd/alarms.ts';
import type { Host, ReadinessCheck } from '../host.ts';

export type HealthHost = Pick<
  Host,
  'clock' | 'limits' | 'self' | 'readiness' | 'replica' | 'replicas'
>;

/** No client can write it, and a replica that does not have its slot says so after it looked. */
const ANY_KEY = Uint8Array.of(0);

function localRead(replica: ReplicaPort, deadlineMs: number): Promise<CommandResult> {
  return new Promise((resolve) => {
    replica.read({ op: 'range', key: ANY_KEY, serializable: true }, deadlineMs, resolve);
  });
}

function failure(name: string, failures: readonly string[], well: string): ReadinessCheck {
  const ok = failures.length === 0;
  return { name, ok, detail: ok ? well : failures.join('; ') };
}

/** Of the replicas that serve: each reads from its own disk. Never anything of quorum or the log. */
async function serializableRead(host: HealthHost): Promise<ReadinessCheck> {
  const deadlineMs = host.clock.nowMs() + host.limits.requestTimeoutMs;
  const following = host.replicas().filter((replica) => replica.status().phase === 'following');
  const failures: string[] = [];
  await Promise.all(
    following.map(async (replica) => {
      const result = await localRead(replica, deadlineMs);
      if (result.ok || result.error.code === 'KV_WRONG_SHARD') return;
      failures.push(`shard ${replica.shard}: ${result.error.message}`);
    }),
  );
  return failure('serializable_read', failures, 'every replica reads from its disk');
}

/** A round of heartbeats for each shard, all at once: its leader is known and a majority confirms it. */
async function linearizableRead(host: HealthHost): Promise<ReadinessCheck> {
  const deadlineMs = host.clock.nowMs() + host.limits.requestTimeoutMs;
  const failures: string[] = [];
  await Promise.all(
    host.replicas().map(async ({ shard }) => {
      const replica = host.replica(shard);
      const status = replica?.status();
      // Its requests go to other members meanwhile.
      if (replica === undefined || status?.phase !== 'following') return;
      if (status.raft.leader === undefined) {
        failures.push(`shard ${shard}: no leader`);
        return;
      }
      try {
        await replica.barrier(deadlineMs);
      } catch (error) {
        if (!isKvError(error)) throw error;
        failures.push(`shard ${shard}: ${error.message}`);
      }
    }),
  );
  return failure('linearizable_read', failures, 'every shard answers');
}

/** Told, and no reason to send clients away: a member that votes nowhere yet forwards their requests. */
function nonLearner(host: HealthHost): ReadinessCheck {
  const learns = host
    .replicas()
    .filter((replica) => replica.status().raft.learners.includes(host.self));
  const shards = learns.map(({ shard }) => shard).join(', ');
  const detail = shards === '' ? 'no replica is a learner' : `learner of shard ${shards}`;
  return { name: 'non_learner', ok: true, detail };
}

/** What /livez looks at. */
export async function livezChecks(host: HealthHost): Promise<readonly ReadinessCheck[]> {
  return [await serializableRead(host)];
}

/** What /readyz looks at: etcd's checks, and what only members of a sharded cluster have. */
export async function readyzChecks(host: HealthHost): Promise<readonly ReadinessCheck[]> {
  const reads = await Promise.all([serializableRead(host), linearizableRead(host)]);
  return [...host.readiness(), ...reads, nonLearner(host)];
}

/** What /health looks at. */
export async function healthChecks(
  host: HealthHost,
  serializable: boolean,
): Promise<readonly ReadinessCheck[]> {
  const full = isFull(host);
  const space = { name: 'NOSPACE', ok: !full, detail: full ? 'ALARM NOSPACE' : 'no alarm' };
  if (!serializable) return [space, ...(await readyzChecks(host))];
  const own = host
    .readiness()
    .filter(({ name }) => name === 'serving' || name === 'data_corruption');
  return [space, ...own, await serializableRead(host)];
}

export interface HealthQuestion {
  /** One check alone. */
  readonly only: string | undefined;
  /** Names of checks that do not count. */
  readonly excluded: readonly string[];
  readonly verbose: boolean;
}

/** An answer of /livez or /readyz in etcd's form. */
export interface HealthAnswer {
  readonly status: 200 | 404 | 503;
  readonly text: string;
}

/** @param path - what is asked, such as `readyz`. */
export function healthAnswer(
  path: string,
  checks: readonly ReadinessCheck[],
  { only, excluded, verbose }: HealthQuestion,
): HealthAnswer {
  const asked = only === undefined ? checks : checks.filter(({ name }) => name === only);
  if (asked.length === 0 && only !== undefined) {
    const names = checks.map(({ name }) => name).join(', ');
    return { status: 404, text: `no check ${only} (checks: ${names})\n` };
  }
  const counts = ({ name, ok }: ReadinessCheck): boolean => ok || excluded.includes(name);
  const passed = asked.every(counts);
  if (passed && !verbose) return { status: 200, text: 'ok\n' };
  const lines = asked.map(({ name, ok, detail }) => {
    if (excluded.includes(name)) return `[+]${name} excluded: ok`;
    return ok ? `[+]${name} ok: ${detail}` : `[-]${name} failed: ${detail}`;
  });
  const unknown = excluded.filter((name) => checks.every((check) => check.name !== name));
  if (unknown.length > 0) {
    lines.push(`warn: some health checks cannot be excluded: no matches for ${unknown.join(', ')}`);
  }
  lines.push(
    `${path}${only === undefined ? '' : `/${only}`} check ${passed ? 'passed' : 'failed'}`,
  );
  return { status: passed ? 200 : 503, text: `${lines.join('\n')}\n` };
}
