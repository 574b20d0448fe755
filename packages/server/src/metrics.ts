import { formatId, type MemberId } from '@kvorum/base';
import type { ElectionMetrics } from '@kvorum/log-kafka';
import type { PeerMetrics } from '@kvorum/peer-tcp';
import type { ReplicaMetrics, ReplicaStatus } from '@kvorum/replica';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { KvdConfig } from './config/schema.ts';
import { type CopyMetrics, copyMetrics } from './copy-metrics.ts';
import { shardCounter, shardHistogram } from './gathered-metrics.ts';
import { GrpcCounts } from './grpc-counts.ts';
import { type HealthMetrics, healthMetrics } from './health-metrics.ts';
import { leaseMetrics } from './lease-metrics.ts';
import { type MoveMetrics, moveMetrics } from './move-metrics.ts';
import { peerMetrics } from './peer-metrics.ts';
import { RequestCounts } from './request-counts.ts';

/** Powers of two around a millisecond, in seconds, as etcd's disk histograms. */
const SECONDS = [
  0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8,
];
const COMMANDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

/** A gauge whose value is a fact of a replica's status, read when Prometheus asks. */
interface StatusGauge {
  readonly name: string;
  readonly help: string;
  readonly value: (status: ReplicaStatus) => number;
}

const STATUS_GAUGES: readonly StatusGauge[] = [
  {
    name: 'etcd_server_has_leader',
    help: 'Whether a leader is known.',
    value: (s) => (s.raft.leader === undefined ? 0 : 1),
  },
  {
    name: 'etcd_server_is_leader',
    help: 'Whether this member leads.',
    value: (s) => (s.raft.role === 'leader' ? 1 : 0),
  },
  {
    name: 'etcd_server_leader_changes_seen_total',
    help: 'Leader changes seen.',
    value: (s) => s.raft.leaderChangeCount,
  },
  {
    name: 'etcd_server_proposals_pending',
    help: 'Commands waiting.',
    value: (s) => s.queuedCommands,
  },
  {
    name: 'kv_proposals_pending_bytes',
    help: 'Bytes of commands waiting.',
    value: (s) => s.queuedBytes,
  },
  {
    name: 'etcd_debugging_mvcc_current_revision',
    help: 'Current revision.',
    value: (s) => s.revision,
  },
  {
    name: 'etcd_debugging_mvcc_compact_revision',
    help: 'Compacted revision.',
    value: (s) => s.compactRevision,
  },
  { name: 'etcd_debugging_mvcc_watcher_total', help: 'Open watches.', value: (s) => s.watchers },
  {
    name: 'kv_leases',
    help: 'Leases that this member keeps time for, as leader of their home.',
    value: (s) => s.leases,
  },
  { name: 'etcd_mvcc_db_total_size_in_bytes', help: 'Bytes on disk.', value: (s) => s.storeBytes },
  {
    name: 'etcd_server_proposals_applied_total',
    help: 'Applied records of the log, each with one command or many.',
    value: (s) => s.appliedIndex,
  },
  { name: 'kv_raft_term', help: 'Raft term.', value: (s) => s.raft.term },
  {
    name: 'kv_raft_commit_index',
    help: 'Accepted records of the log.',
    value: (s) => s.raft.accepted.index,
  },
  {
    name: 'kv_raft_applied_index',
    help: 'Applied records of the log.',
    value: (s) => s.appliedIndex,
  },
  {
    name: 'kv_log_offset',
    help: 'Last offset of the shared log that was judged.',
    value: (s) => s.raft.accepted.offset,
  },
  {
    name: 'kv_durable_offset',
    help: 'Offset of the shared log up to which everything is applied and synced here; -1 = not known.',
    value: (s) => s.raft.durableOffset,
  },
  {
    name: 'kv_log_truncated_offset',
    help: 'First offset that this member left in the log when it last truncated it as leader.',
    value: (s) => s.truncation.before,
  },
  {
    name: 'kv_log_excluded_voters',
    help: 'Voters whose disks the log is not kept for, as an operator said.',
    value: (s) => s.truncation.excluded.length,
  },
  {
    name: 'kv_snapshot_installing',
    help: 'Whether this replica installs a snapshot and serves nothing meanwhile.',
    value: (s) => (s.phase === 'installing' ? 1 : 0),
  },
  {
    name: 'kv_snapshot_received_bytes',
    help: 'Bytes of the snapshot being installed that have arrived; 0 = none is.',
    value: (s) => s.install?.receivedBytes ?? 0,
  },
  {
    name: 'kv_snapshots_sending',
    help: 'Snapshots on their way from here to other members.',
    value: (s) => s.snapshotsSending,
  },
  {
    name: 'kv_log_reachable',
    help: 'Whether the shared log answers.',
    value: (s) => (s.raft.logReachable ? 1 : 0),
  },
  {
    name: 'kv_halted',
    help: 'Whether the shard is halted on proof of log loss.',
    value: (s) => (s.raft.halted === undefined ? 0 : 1),
  },
];

/** All metrics of one member, one registry; names are etcd's where the meaning is the same. */
export interface MemberMetrics {
  readonly registry: Registry;
  readonly replica: ReplicaMetrics;
  /** Where the status gauges read from. */
  readonly statusSource: (source: () => readonly ReplicaStatus[]) => void;
  readonly connections: Gauge;
  readonly sessions: Gauge;
  readonly refusedConnections: Counter<'reason'>;
  readonly requests: RequestCounts;
  readonly grpc: GrpcCounts;
  readonly logProblems: Gauge;
  readonly health: HealthMetrics;
  readonly peers: PeerMetrics;
  readonly copies: CopyMetrics;
  readonly moves: MoveMetrics;
  /** Of votes and heartbeats over Kafka. */
  readonly election: ElectionMetrics;
  /** Where the gauge of the election topics reads from. */
  readonly electionAnswered: (source: () => boolean) => void;
}

function counter(registry: Registry, name: string, help: string): Counter<'shard'> {
  return new Counter({ name, help, labelNames: ['shard'], registers: [registry] });
}

function replicaMetrics(registry: Registry): ReplicaMetrics {
  const committed = shardCounter(registry, {
    name: 'etcd_server_proposals_committed_total',
    help: 'Commands committed by this leader.',
  });
  const failed = counter(registry, 'etcd_server_proposals_failed_total', 'Commands that failed.');
  const fenced = counter(
    registry,
    'kv_fenced_records_total',
    'Log records ignored: written by a deposed leader.',
  );
  const rounds = counter(
    registry,
    'kv_read_index_rounds_total',
    'Heartbeat rounds that confirmed reads.',
  );
  const unknown = counter(
    registry,
    'kv_unknown_outcome_total',
    'Appends whose outcome had to be read back.',
  );
  const autoCompacted = counter(
    registry,
    'kv_auto_compactions_total',
    'Compactions that this leader made by itself.',
  );
  const compactedRows = counter(
    registry,
    'etcd_debugging_mvcc_db_compaction_keys_total',
    'Store rows removed by compactions.',
  );
  const append = shardHistogram(registry, {
    name: 'etcd_disk_wal_fsync_duration_seconds',
    help: 'Append until the shared log acknowledged.',
    buckets: SECONDS,
  });
  const apply = shardHistogram(registry, {
    name: 'etcd_disk_backend_commit_duration_seconds',
    help: 'Applying one record to the store.',
    buckets: SECONDS,
  });
  const batch = shardHistogram(registry, {
    name: 'kv_batch_commands',
    help: 'Commands in one record.',
    buckets: COMMANDS,
  });
  return {
    proposalCommitted: committed,
    proposalFailed: (shard, commands) => failed.inc({ shard }, commands),
    fenced: (shard) => fenced.inc({ shard }),
    readRound: (shard) => rounds.inc({ shard }),
    unknownOutcome: (shard) => unknown.inc({ shard }),
    autoCompacted: (shard) => autoCompacted.inc({ shard }),
    compactedRows: (shard, rows) => compactedRows.inc({ shard }, rows),
    leases: leaseMetrics(registry),
    appendMs: (shard, ms) => append(shard, ms / 1000),
    applyMs: (shard, ms) => apply(shard, ms / 1000),
    batchCommands: batch,
  };
}

function electionMetrics(registry: Registry): Pick<MemberMetrics, 'election' | 'electionAnswered'> {
  const registers = [registry];
  const produce = new Histogram({
    name: 'kv_election_produce_seconds',
    help: 'Producing one record to an election topic.',
    labelNames: ['topic'],
    buckets: SECONDS,
    registers,
  });
  const sent = new Counter({
    name: 'kv_election_messages_sent_total',
    help: 'Messages written to the election topics.',
    labelNames: ['topic'],
    registers,
  });
  const lost = new Counter({
    name: 'kv_election_messages_lost_total',
    help: 'Messages that did not get into an election topic.',
    labelNames: ['topic'],
    registers,
  });
  const received = new Counter({
    name: 'kv_election_messages_received_total',
    help: 'Messages read from the election topics.',
    registers,
  });
  const ignored = new Counter({
    name: 'kv_election_frames_ignored_total',
    help: 'Records of the election topics that were not taken.',
    labelNames: ['reason'],
    registers,
  });
  return {
    election: {
      produced(topic, { messages, ms }) {
        produce.observe({ topic }, ms / 1000);
        sent.inc({ topic }, messages);
      },
      lost: (topic, messages) => lost.inc({ topic }, messages),
      received: (messages) => received.inc(messages),
      ignored: (reason) => ignored.inc({ reason }),
    },
    electionAnswered(source) {
      registry.registerMetric(
        new Gauge({
          name: 'kv_election_topics_answered',
          help: 'Whether both election topics answered lately.',
          registers: [],
          collect() {
            this.set(source() ? 1 : 0);
          },
        }),
      );
    },
  };
}

function statusGauges(registry: Registry): MemberMetrics['statusSource'] {
  let read: () => readonly ReplicaStatus[] = () => [];
  for (const spec of STATUS_GAUGES) {
    const gauge: Gauge<'shard'> = new Gauge({
      name: spec.name,
      help: spec.help,
      labelNames: ['shard'],
      registers: [registry],
      collect() {
        for (const status of read()) gauge.set({ shard: status.shard }, spec.value(status));
      },
    });
  }
  return (source) => {
    read = source;
  };
}

/** Facts of the member that do not change. */
function facts(registry: Registry, { version, config, memberId }: MemberFacts): void {
  const registers = [registry];
  const build = new Gauge({
    name: 'etcd_server_version',
    help: 'Version of kvd; always 1.',
    labelNames: ['server_version', 'member'],
    registers,
  });
  build.set({ server_version: version, member: config.name }, 1);
  const id = new Gauge({
    name: 'etcd_server_id',
    help: 'Id of the member; always 1.',
    labelNames: ['server_id'],
    registers,
  });
  id.set({ server_id: formatId(memberId) }, 1);
  const quota = new Gauge({
    name: 'etcd_server_quota_backend_bytes',
    help: 'What all replicas of the member may take on disk together.',
    registers,
  });
  quota.set(config.limits.quotaBytes);
}

export interface MemberFacts {
  readonly version: string;
  readonly config: Pick<KvdConfig, 'name' | 'limits'>;
  readonly memberId: MemberId;
}

/** The metrics of one member; several members of one process have one each. */
export function createMetrics(member: MemberFacts): MemberMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 50 });
  facts(registry, member);
  return {
    registry,
    replica: replicaMetrics(registry),
    statusSource: statusGauges(registry),
    connections: new Gauge({
      name: 'kv_client_connections',
      help: 'Open client connections.',
      registers: [registry],
    }),
    sessions: new Gauge({
      name: 'kv_client_sessions',
      help: 'Open native sessions.',
      registers: [registry],
    }),
    refusedConnections: new Counter({
      name: 'kv_client_connections_refused_total',
      help: 'Client connections refused, or (reason memory) cut.',
      labelNames: ['reason'],
      registers: [registry],
    }),
    requests: new RequestCounts(registry),
    health: healthMetrics(registry),
    peers: peerMetrics(registry),
    grpc: new GrpcCounts(registry),
    copies: copyMetrics(registry),
    moves: moveMetrics(registry),
    ...electionMetrics(registry),
    logProblems: new Gauge({
      name: 'kv_log_unsafe_settings',
      help: 'Unsafe settings found by the periodic check of the shared log.',
      registers: [registry],
    }),
  };
}
