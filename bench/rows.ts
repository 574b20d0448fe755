/** The rows of the results, in the order they are printed. */
export const ROW_IDS = [
  'puts',
  'gets',
  'p50',
  'shards16',
  'growth',
  'memory',
  'restart',
  'failover',
  'snapshot',
  'install',
  'during-snapshot',
  'during-compaction',
  'during-reshard',
  'hand-over',
  'compact-history',
  'compact-keys',
  'grpc-put',
  'grpc-range',
  'grpc-txn',
  'grpc-watch',
  'grpc-keep-alive',
] as const;
export type RowId = (typeof ROW_IDS)[number];

export interface RowGoal {
  readonly title: string;
  readonly better: 'higher' | 'lower';
  /** Worse than this is SHORT. */
  readonly floor: number;
  readonly aim: number;
  readonly unit: '×' | 'MB' | 's' | 'keys/s';
}

/** What each row must reach and what it aims at. */
export const GOALS: Readonly<Record<RowId, RowGoal>> = {
  puts: {
    title: 'puts/s, 3 members, 3 brokers, 4 shards : etcd 3 members',
    better: 'higher',
    floor: 3,
    aim: 6,
    unit: '×',
  },
  gets: {
    title: 'linearizable gets/s, same set-up : etcd',
    better: 'higher',
    floor: 3,
    aim: 8,
    unit: '×',
  },
  p50: {
    title: 'put p50, one in flight : bare Kafka acks=all',
    better: 'lower',
    floor: 1.6,
    aim: 1.2,
    unit: '×',
  },
  shards16: {
    title: 'puts/s, 16 shards : 4 shards',
    better: 'higher',
    floor: 0.85,
    aim: 1,
    unit: '×',
  },
  growth: {
    title: 'puts/s at the last keys : at the first 10,000',
    better: 'higher',
    floor: 0.8,
    aim: 0.95,
    unit: '×',
  },
  memory: {
    title: 'resident memory of a member, all keys put',
    better: 'lower',
    floor: 400,
    aim: 200,
    unit: 'MB',
  },
  restart: {
    title: 'all members killed -9: start until it serves',
    better: 'lower',
    floor: 5,
    aim: 1,
    unit: 's',
  },
  failover: {
    title: 'kill -9 of a leader: longest gap in its writes',
    better: 'lower',
    floor: 3,
    aim: 1.5,
    unit: 's',
  },
  snapshot: {
    title: 'copy of a replica taken at its source',
    better: 'higher',
    floor: 300_000,
    aim: 600_000,
    unit: 'keys/s',
  },
  install: {
    title: 'snapshot from a peer installed on an empty disk',
    better: 'higher',
    floor: 300_000,
    aim: 600_000,
    unit: 'keys/s',
  },
  'during-snapshot': {
    title: 'puts/s while a member installs snapshots : quiet',
    better: 'higher',
    floor: 0.7,
    aim: 0.9,
    unit: '×',
  },
  'during-compaction': {
    title: 'puts/s while history is removed : quiet',
    better: 'higher',
    floor: 0.7,
    aim: 0.9,
    unit: '×',
  },
  'during-reshard': {
    title: 'puts/s while 4 shards become 8 : quiet',
    better: 'higher',
    floor: 0.7,
    aim: 0.9,
    unit: '×',
  },
  'hand-over': {
    title: '4 shards to 8 to 4: longest gap of a slot that moved',
    better: 'lower',
    floor: 1,
    aim: 0.5,
    unit: 's',
  },
  'compact-history': {
    title: 'CPU a removed revision, 8 times the history : once',
    better: 'lower',
    floor: 1.3,
    aim: 1.1,
    unit: '×',
  },
  'compact-keys': {
    title: 'CPU a removed revision, 100 times the keys : once',
    better: 'lower',
    floor: 1.3,
    aim: 1.1,
    unit: '×',
  },
  'grpc-put': {
    title: 'puts/s over gRPC, worst of 1, 64, 1,000 streams : etcd',
    better: 'higher',
    floor: 1,
    aim: 1.5,
    unit: '×',
  },
  'grpc-range': {
    title: 'linearizable ranges/s over gRPC, same : etcd',
    better: 'higher',
    floor: 1,
    aim: 2,
    unit: '×',
  },
  'grpc-txn': {
    title: 'transactions/s over gRPC, same : etcd',
    better: 'higher',
    floor: 1,
    aim: 1.5,
    unit: '×',
  },
  'grpc-watch': {
    title: 'events/s, 1 writer, 1,000 watchers : etcd',
    better: 'higher',
    floor: 1,
    aim: 1.5,
    unit: '×',
  },
  'grpc-keep-alive': {
    title: 'keep-alives/s, worst of 1, 64, 1,000 leases : etcd',
    better: 'higher',
    floor: 1,
    aim: 1.5,
    unit: '×',
  },
};

/** SKIPPED: something it needs is not there. FAILED: measuring it went wrong. */
export type Verdict = 'ok' | 'SHORT' | 'SKIPPED' | 'FAILED';

/** `ok` at the floor or better. */
export function judge(goal: RowGoal, value: number): Verdict {
  const reached = goal.better === 'higher' ? value >= goal.floor : value <= goal.floor;
  return reached ? 'ok' : 'SHORT';
}

/** Repeated values of one quantity. */
export interface Sample {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
}

export function sampleOf(values: readonly number[]): Sample {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  const middle = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
    n: sorted.length,
  };
}

/** One row as measured. */
export interface RowResult {
  readonly row: RowId;
  readonly verdict: Verdict;
  /** What the goal judges: a ratio, MB or seconds. NaN when skipped. */
  readonly value: number;
  readonly measured?: Sample;
  readonly against?: Sample;
  /** Why it was skipped, or what a reader must know. */
  readonly note: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

export function notMeasured(row: RowId, verdict: 'SKIPPED' | 'FAILED', note: string): RowResult {
  return { row, verdict, value: Number.NaN, note };
}

export function rowOf(
  row: RowId,
  value: number,
  rest: Omit<RowResult, 'row' | 'verdict' | 'value'>,
): RowResult {
  return { row, value, verdict: judge(GOALS[row], value), ...rest };
}
