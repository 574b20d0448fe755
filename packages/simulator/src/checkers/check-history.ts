import type { Finding } from './finding.ts';
import { Findings } from './finding.ts';
import { checkLinearizability } from './linearizability.ts';
import { type LogPosition, type ReplayedLog, replayLog } from './log-replay.ts';
import { type ObservedVersions, observeVersions } from './observed-versions.ts';
import { checkOrder } from './order-check.ts';
import type { Placed, Sighting } from './real-time.ts';
import type { RecordedEvents, RecordedHistory, RecordedOperation } from './recorded-history.ts';
import { checkReplay } from './replay-check.ts';
import { checkWatchStream, type WatchLine, type WatchTruth } from './watch-check.ts';

export interface CheckOptions {
  /** Time for the search over orders; beyond it the history counts as not verified. Default 60 s. */
  readonly timeoutMs?: number;
  /** Steps of one search. Default 5 million. */
  readonly stepsMax?: number;
  /** Records of a shard's log from elsewhere than the history: a topic, a simulated log. */
  readonly logs?: ReadonlyMap<string, Iterable<LogPosition>>;
  /** Milliseconds on any clock. Default: the process's. */
  readonly now?: () => number;
}

/** `unverified`: nothing wrong was found, but a checker gave up: a failure to verify, not a pass. */
export type Verdict = 'ok' | 'violation' | 'unverified';

export interface CheckReport {
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  /** Findings beyond those listed. */
  readonly moreFindings: number;
  /** What could not be judged, and why. */
  readonly unverified: readonly string[];
  readonly counts: {
    readonly operations: number;
    readonly ok: number;
    readonly failed: number;
    readonly unknown: number;
    readonly shards: number;
    readonly streams: number;
    readonly events: number;
    readonly logRecords: number;
    readonly keyGroups: number;
    readonly searchSteps: number;
  };
}

const DEFAULT_TIMEOUT_MS = 60_000;
const DEFAULT_STEPS_MAX = 5_000_000;
const MEMO_MAX = 2_000_000;

/** Runs every checker over a history. */
export function checkHistory(history: RecordedHistory, options: CheckOptions = {}): CheckReport {
  const now = options.now ?? (() => performance.now());
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  let spentMs = 0;
  let startMs = 0;
  const limits = {
    stepsMax: options.stepsMax ?? DEFAULT_STEPS_MAX,
    memoMax: MEMO_MAX,
    isOver: () => spentMs + now() - startMs > timeoutMs,
  };
  const shards = splitByShard(history, options.logs ?? new Map());
  const findings: Findings[] = [];
  const unverified: string[] = [];
  const totals = { keyGroups: 0, searchSteps: 0, logRecords: 0 };
  for (const [name, shard] of shards) {
    const make = (checker: Finding['checker']): Findings => {
      const one = new Findings(checker, name);
      findings.push(one);
      return one;
    };
    const { logRecords, placed } = checkByRevision(shard, make);
    totals.logRecords += logRecords;
    const hints = new Map(placed.map((one) => [one.operation.id, placeOf(one)]));
    startMs = now();
    const search = checkLinearizability(
      shard.operations,
      ({ id }) => hints.get(id) ?? Number.POSITIVE_INFINITY,
      limits,
      make('linearizability'),
    );
    spentMs += now() - startMs;
    totals.keyGroups += search.groups;
    totals.searchSteps += search.steps;
    for (const keys of search.unverified) {
      unverified.push(`shard ${name}, ${keys}: the search over orders gave up`);
    }
  }
  const list = findings.flatMap((one) => one.list);
  const verdict = list.length > 0 ? 'violation' : unverified.length > 0 ? 'unverified' : 'ok';
  return {
    verdict,
    findings: list,
    moreFindings: findings.reduce((sum, { dropped }) => sum + dropped, 0),
    unverified,
    counts: { ...countsOf(history), shards: shards.size, ...totals },
  };
}

/** What was answered with a revision stands behind what wrote it. */
function placeOf({ revision, wrote }: Placed): number {
  return wrote ? revision : revision + 0.5;
}

interface ShardHistory {
  readonly operations: RecordedOperation[];
  readonly streams: Map<string, WatchLine[]>;
  log: Iterable<LogPosition> | undefined;
}

function splitByShard(
  history: RecordedHistory,
  logs: ReadonlyMap<string, Iterable<LogPosition>>,
): ReadonlyMap<string, ShardHistory> {
  const shards = new Map<string, ShardHistory>();
  const of = (name: string): ShardHistory => {
    const known = shards.get(name);
    if (known !== undefined) return known;
    const fresh: ShardHistory = { operations: [], streams: new Map(), log: undefined };
    shards.set(name, fresh);
    return fresh;
  };
  for (const operation of history.operations) of(operation.shard).operations.push(operation);
  const shardOfStream = new Map<string, string>();
  for (const line of history.watches) {
    if (line.type === 'watch') shardOfStream.set(line.stream, line.shard);
    const { streams } = of(shardOfStream.get(line.stream) ?? '');
    const lines = streams.get(line.stream);
    if (lines === undefined) streams.set(line.stream, [line]);
    else lines.push(line);
  }
  const recorded = new Map<string, LogPosition[]>();
  for (const record of history.log) {
    const list = recorded.get(record.shard);
    if (list === undefined) recorded.set(record.shard, [record]);
    else list.push(record);
  }
  for (const [name, log] of [...recorded, ...logs]) of(name).log = log;
  return shards;
}

/** The checkers that go by revisions. */
function checkByRevision(
  shard: ShardHistory,
  make: (checker: Finding['checker']) => Findings,
): { readonly logRecords: number; readonly placed: readonly Placed[] } {
  const { operations, streams } = shard;
  const deliveries = [...streams.values()].flatMap((lines) =>
    lines.filter((line): line is RecordedEvents => line.type === 'events'),
  );
  const sightings = deliveries.flatMap(sightingOf);
  const order = make('order');
  const observed = observeVersions(operations, deliveries, sightings, order);
  checkOrder(operations, observed, sightings, order);
  let log: ReplayedLog | undefined;
  let { placed } = observed;
  if (shard.log !== undefined) {
    const findings = make('replay');
    log = replayLog(shard.log, findings);
    // A log that cannot be read on says nothing about what came after.
    if (findings.list.length === 0) placed = checkReplay(operations, log, sightings, findings);
    else if (findings.list.some(({ rule }) => rule === 'bad-log')) log = undefined;
  }
  const truth = watchTruth(operations, streams, observed, log);
  const watch = make('watch');
  for (const lines of streams.values()) checkWatchStream(lines, truth, watch);
  return { logRecords: log?.index ?? 0, placed };
}

function sightingOf({ at, events, stream }: RecordedEvents): readonly Sighting[] {
  if (events.length === 0) return [];
  const revision = Math.max(...events.map(({ kv }) => kv.modRevision));
  return [{ at, revision, by: `stream ${stream}`, operation: undefined }];
}

function watchTruth(
  operations: readonly RecordedOperation[],
  streams: ReadonlyMap<string, readonly WatchLine[]>,
  observed: ObservedVersions,
  log: ReplayedLog | undefined,
): WatchTruth {
  if (log !== undefined) {
    const { compactRevision, versions } = log;
    return { versions, complete: true, compactRevision, isUncertain: () => false };
  }
  let compactRevision = 0;
  for (const { request, result } of operations) {
    if (request.op !== 'compact' || result.outcome === 'failed') continue;
    compactRevision = Math.max(compactRevision, request.revision);
  }
  for (const lines of streams.values()) {
    for (const line of lines) {
      if (line.type !== 'watch-end') continue;
      compactRevision = Math.max(compactRevision, line.compactRevision ?? 0);
    }
  }
  const { leased, unplaced, versions } = observed;
  const isUncertain = (key: string): boolean => leased.has(key) || unplaced.touches(key);
  return { versions, complete: false, compactRevision, isUncertain };
}

function countsOf(
  history: RecordedHistory,
): Pick<CheckReport['counts'], 'operations' | 'ok' | 'failed' | 'unknown' | 'streams' | 'events'> {
  const { operations, watches } = history;
  const outcomes = { ok: 0, failed: 0, unknown: 0 };
  for (const { result } of operations) outcomes[result.outcome] += 1;
  const streams = new Set(watches.map(({ stream }) => stream)).size;
  let events = 0;
  for (const line of watches) if (line.type === 'events') events += line.events.length;
  return { operations: operations.length, ...outcomes, streams, events };
}
