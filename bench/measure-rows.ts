import type { Bench } from './bench.ts';
import { cellOf, othersOf, troubleOf } from './cells.ts';
import { compactHistoryRow, compactKeysRow } from './compaction-cost.ts';
import { inTurn, type Side } from './comparison.ts';
import {
  duringCompactionRow,
  duringReshardRow,
  duringSnapshotRow,
  handOverRow,
} from './disturbed-rows.ts';
import { grpcRow, STREAM_COUNTS, WATCHERS } from './grpc-rows.ts';
import { latencyRow } from './latency-row.ts';
import { Load } from './load.ts';
import { sleep } from './processes.ts';
import { notMeasured, type RowId, type RowResult, rowOf, sampleOf } from './rows.ts';
import type { Candidate, Way } from './search.ts';
import { installRow, snapshotRow } from './snapshot-rate.ts';
import { FILL_STEP_KEYS, type FilledEtcd } from './systems.ts';

const MAIN_SHARDS = 4;
const MANY_SHARDS = 16;
/** The rate at the last keys is taken over this many steps of the fill: one alone is mostly noise. */
const LAST_STEPS = 10;
const GAP_MS = 12_000;
const KILL_AFTER_MS = 3000;
const GAP_IN_FLIGHT_PER_SHARD = 16;
const MEGA = 1e6;

/** How each row is measured. Rows may be measured in any order and alone. */
export const MEASURE: Readonly<Record<RowId, (bench: Bench) => Promise<RowResult>>> = {
  puts: (bench) => againstEtcd(bench, 'puts', 'put'),
  gets: (bench) => againstEtcd(bench, 'gets', 'get'),
  p50: latencyRow,
  shards16: shardsRow,
  growth: growthRow,
  memory: memoryRow,
  restart: restartRow,
  failover: failoverRow,
  snapshot: snapshotRow,
  install: installRow,
  'during-snapshot': duringSnapshotRow,
  'during-compaction': duringCompactionRow,
  'during-reshard': duringReshardRow,
  'hand-over': handOverRow,
  'compact-history': compactHistoryRow,
  'compact-keys': compactKeysRow,
  'grpc-put': (bench) => grpcRow(bench, 'grpc-put', 'put', STREAM_COUNTS),
  'grpc-range': (bench) => grpcRow(bench, 'grpc-range', 'get', STREAM_COUNTS),
  'grpc-txn': (bench) => grpcRow(bench, 'grpc-txn', 'txn', STREAM_COUNTS),
  'grpc-watch': (bench) => grpcRow(bench, 'grpc-watch', 'watch', [WATCHERS]),
  'grpc-keep-alive': (bench) => grpcRow(bench, 'grpc-keep-alive', 'keep-alive', STREAM_COUNTS),
};

/** etcd at its best: every combination of who is asked, over how many connections, with how many in flight. */
async function bestEtcd(bench: Bench, etcd: FilledEtcd, op: Side['op']): Promise<Candidate> {
  const groups = { members: etcd.cluster.pids };
  const ways: Way[] = [];
  for (const targets of ['leader', 'all members'] as const) {
    const endpoints = targets === 'leader' ? [await etcd.cluster.leader()] : etcd.cluster.endpoints;
    for (const connectionsPerMember of bench.sizes.etcdConnections) {
      const driver = { system: 'grpc', endpoints, connectionsPerMember } as const;
      const load = await Load.open(bench.workspace, driver);
      ways.push({ load, op, groups, how: `${targets}, ${connectionsPerMember} connections each` });
    }
  }
  const { best } = await bench.search(`etcd ${etcd.cluster.version}`, ways);
  const others = ways.filter((way) => way.load !== best.load);
  await Promise.all(others.map((way) => way.load.close()));
  return best;
}

async function againstEtcd(bench: Bench, row: RowId, op: 'put' | 'get'): Promise<RowResult> {
  const kvorum = await bench.bestKvorum(MAIN_SHARDS, op);
  const etcd = await bench.systems.etcd();
  if (etcd === undefined)
    return notMeasured(row, 'SKIPPED', 'no etcd on the PATH, and none could be fetched');
  const side = await bestEtcd(bench, etcd, op);
  const [ours, theirs] = await inTurn(kvorum, side, bench.sizes);
  await side.load.close();
  const cell = cellOf(`kvorum, ${MAIN_SHARDS} shards`, op, kvorum.inFlight, ours);
  const etcdCell = cellOf(`etcd ${etcd.cluster.version}`, op, side.inFlight, theirs);
  bench.addCell(cell);
  bench.addCell(etcdCell);
  return rowOf(row, cell.opsPerSecond.median / etcdCell.opsPerSecond.median, {
    measured: cell.opsPerSecond,
    against: etcdCell.opsPerSecond,
    note: joined(
      `${kvorum.inFlight} in flight : etcd ${side.how}, ${side.inFlight} in flight`,
      othersOf(cell, etcdCell),
      troubleOf(cell),
      troubleOf(etcdCell),
    ),
    detail: { etcd: { how: side.how, inFlight: side.inFlight }, inFlight: kvorum.inFlight },
  });
}

async function shardsRow(bench: Bench): Promise<RowResult> {
  const many = await bench.bestKvorum(MANY_SHARDS, 'put');
  const few = await bench.bestKvorum(MAIN_SHARDS, 'put');
  const [manyRuns, fewRuns] = await inTurn(many, few, bench.sizes);
  const manyCell = cellOf(`kvorum, ${MANY_SHARDS} shards`, 'put', many.inFlight, manyRuns);
  const fewCell = cellOf(`kvorum, ${MAIN_SHARDS} shards`, 'put', few.inFlight, fewRuns);
  bench.addCell(manyCell);
  bench.addCell(fewCell);
  return rowOf('shards16', manyCell.opsPerSecond.median / fewCell.opsPerSecond.median, {
    measured: manyCell.opsPerSecond,
    against: fewCell.opsPerSecond,
    note: joined(
      `${many.inFlight} : ${few.inFlight} in flight`,
      othersOf(manyCell, fewCell),
      troubleOf(manyCell),
      troubleOf(fewCell),
    ),
  });
}

async function growthRow(bench: Bench): Promise<RowResult> {
  const { fill } = await bench.systems.kvorum(MAIN_SHARDS);
  const steps = fill.stepSeconds;
  const first = FILL_STEP_KEYS / (steps[0] ?? Number.NaN);
  const from = Math.max(0, steps.length - 1 - LAST_STEPS);
  const lastSeconds = (steps.at(-1) ?? Number.NaN) - (steps[from] ?? Number.NaN);
  const last = ((steps.length - 1 - from) * FILL_STEP_KEYS) / lastSeconds;
  return rowOf('growth', last / first, {
    measured: sampleOf([last]),
    against: sampleOf([first]),
    note: `distinct keys, ${bench.sizes.keys} in all, ${bench.sizes.fillInFlight} in flight`,
    detail: { stepKeys: FILL_STEP_KEYS, stepSeconds: steps },
  });
}

async function memoryRow(bench: Bench): Promise<RowResult> {
  const { memory, cluster } = await bench.systems.kvorum(MAIN_SHARDS);
  const now = cluster.memory();
  return rowOf('memory', memory.rssBytes / MEGA, {
    measured: sampleOf([memory.rssBytes / MEGA]),
    note: `largest member after ${bench.sizes.keys} keys; peak ${Math.round(memory.rssPeakBytes / MEGA)} MB`,
    detail: { ...memory, rssBytesAtEnd: now.rssBytes, rssPeakBytesAtEnd: now.rssPeakBytes },
  });
}

async function restartRow(bench: Bench): Promise<RowResult> {
  await bench.systems.onlyKvorum(MAIN_SHARDS);
  const { cluster } = await bench.systems.kvorum(MAIN_SHARDS);
  const seconds: number[] = [];
  for (let i = 0; i < bench.sizes.restarts; i += 1) {
    await cluster.killAll();
    cluster.launch();
    seconds.push((await cluster.untilServing(bench.sizes.keys)) / 1000);
    await cluster.untilSpread();
  }
  const sample = sampleOf(seconds);
  return rowOf('restart', sample.median, {
    measured: sample,
    note: `${bench.sizes.keys} keys; until linearizable gets are answered in every shard`,
  });
}

async function failoverRow(bench: Bench): Promise<RowResult> {
  await bench.systems.onlyKvorum(MAIN_SHARDS);
  const { cluster, load } = await bench.systems.kvorum(MAIN_SHARDS);
  const gapsMs: number[] = [];
  const detail: unknown[] = [];
  for (let i = 0; i < bench.sizes.kills; i += 1) {
    const { keys, valueBytes } = bench.sizes;
    const running = load.gap({
      durationMs: GAP_MS,
      inFlightPerLane: GAP_IN_FLIGHT_PER_SHARD,
      keyCount: keys,
      valueBytes,
      seed: i,
    });
    await sleep(KILL_AFTER_MS);
    const led = await cluster.killBusiestLeader();
    const { lanes, errors } = await running;
    cluster.launch();
    await cluster.untilSpread();
    const hit = lanes.filter(({ lane }) => led.includes(lane));
    if (hit.length === 0) throw new Error('the killed member led no shard that was written to');
    gapsMs.push(Math.max(...hit.map(({ longestGapMs }) => longestGapMs)));
    detail.push({ led, lanes, errors });
  }
  const sample = sampleOf(gapsMs.map((ms) => ms / 1000));
  // The promise is about the longest gap, so the worst of the kills counts, not the median.
  return rowOf('failover', sample.max, {
    measured: sample,
    note: `worst of ${sample.n} kills`,
    detail: { kills: detail },
  });
}

function joined(...texts: readonly string[]): string {
  return texts.filter((text) => text !== '').join('; ');
}
