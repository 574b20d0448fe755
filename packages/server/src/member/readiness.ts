import type { KvError } from '@kvorum/base';
import type { ReplicaPort } from '@kvorum/replica';
import type { ReadinessCheck } from '../host.ts';

const listed = (shards: readonly string[]): string => `shard ${shards.join(', ')}`;

/**
 * Whether the member should get traffic: it is neither starting nor stopping, no shard is halted, every shard has a leader. What it
 * takes a read to find out is in http/health-checks.ts.
 */
export function readinessChecks(
  refusal: KvError | undefined,
  replicas: readonly ReplicaPort[],
): readonly ReadinessCheck[] {
  const statuses = replicas.map((replica) => replica.status());
  const halted = statuses.filter((s) => s.raft.halted !== undefined).map((s) => s.shard);
  const installing = statuses.filter((s) => s.phase === 'installing').map((s) => s.shard);
  const leaderless = statuses.filter((s) => s.raft.leader === undefined).map((s) => s.shard);
  const logs = statuses.filter((s) => !s.raft.logReachable).map((s) => s.shard);
  return [
    { name: 'serving', ok: refusal === undefined, detail: refusal?.message ?? 'yes' },
    {
      // etcd's name.
      name: 'data_corruption',
      ok: halted.length === 0,
      detail: halted.length === 0 ? 'no shard is halted' : `halted: ${listed(halted)}`,
    },
    {
      // Its requests go to other members meanwhile: told, but no reason to send clients away.
      name: 'snapshots',
      ok: true,
      detail:
        installing.length === 0
          ? 'no replica installs a snapshot'
          : `installing a snapshot: ${listed(installing)}`,
    },
    {
      name: 'leaders',
      ok: leaderless.length === 0,
      detail:
        leaderless.length === 0 ? 'every shard has a leader' : `no leader: ${listed(leaderless)}`,
    },
    {
      // Reads go on without the log, so an unreachable one is told but does not make the member unready.
      name: 'log',
      ok: true,
      detail:
        logs.length === 0
          ? 'the shared log answers'
          : `the shared log does not answer: ${listed(logs)}`,
    },
  ];
}
