import { type Cell, cellOf, troubleOf } from './cells.ts';
import { best, inTurn, measure, type Side } from './comparison.ts';
import { LARGE_RECORD_BYTES, openKafkaFloor } from './kafka-floor.ts';
import { Load } from './load.ts';
import type { Sizes } from './plan.ts';
import { progress, sleep, type Workspace } from './processes.ts';
import { notMeasured, type RowId, type RowResult, rowOf, sampleOf } from './rows.ts';
import { FILL_STEP_KEYS, type Filled, type FilledEtcd, type Systems } from './systems.ts';

/** What a row's measurement may use, and where it leaves the cells it measured. */
export interface Bench {
  readonly workspace: Workspace;
  readonly systems: Systems;
  readonly sizes: Sizes;
  readonly cells: Cell[];
}

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
};

/** The processes whose CPU time a load on this cluster is charged to. */
export async function kvorumGroups(bench: Bench, filled: Filled): Promise<Side['groups']> {
  return { members: filled.cluster.pids, brokers: (await bench.systems.brokers()).pids };
}

async function kvorumSide(
  bench: Bench,
  shards: number,
  op: Side['op'],
  inFlight: number,
): Promise<Side> {
  const filled = await bench.systems.kvorum(shards);
  return { load: filled.load, op, inFlight, groups: await kvorumGroups(bench, filled) };
}

async function bestKvorum(bench: Bench, shards: number, op: Side['op']): Promise<Side> {
  const candidates: Side[] = [];
  for (const inFlight of bench.sizes.kvorumInFlight) {
    candidates.push(await kvorumSide(bench, shards, op, inFlight));
  }
  return best(candidates, bench.sizes);
}

type EtcdSide = Side & { readonly how: string };

/** etcd at its best: every combination of who is asked, over how many connections, with how many in flight. */
async function bestEtcd(bench: Bench, etcd: FilledEtcd, op: Side['op']): Promise<EtcdSide> {
  const { workspace, sizes } = bench;
  const groups = { members: etcd.cluster.pids };
  const winners: EtcdSide[] = [];
  for (const targets of ['leader', 'all members'] as const) {
    const endpoints = targets === 'leader' ? [await etcd.cluster.leader()] : etcd.cluster.endpoints;
    for (const connectionsPerMember of sizes.etcdConnections) {
      const load = await Load.open(workspace, { system: 'etcd', endpoints, connectionsPerMember });
      const how = `${targets}, ${connectionsPerMember} connections each`;
      const candidates = sizes.etcdInFlight.map((inFlight) => ({
        load,
        op,
        inFlight,
        groups,
        how,
      }));
      winners.push(await best(candidates, sizes));
    }
  }
  const winner = await best(winners, sizes);
  await Promise.all(winners.filter((each) => each !== winner).map((each) => each.load.close()));
  progress(`etcd's best for ${op}: ${winner.how}, ${winner.inFlight} in flight`);
  return winner;
}

async function againstEtcd(bench: Bench, row: RowId, op: 'put' | 'get'): Promise<RowResult> {
  const kvorum = await bestKvorum(bench, MAIN_SHARDS, op);
  const etcd = await bench.systems.etcd();
  if (etcd === undefined)
    return notMeasured(row, 'SKIPPED', 'no etcd on the PATH, and none could be fetched');
  const side = await bestEtcd(bench, etcd, op);
  const [ours, theirs] = await inTurn(kvorum, side, bench.sizes);
  await side.load.close();
  const cell = cellOf(`kvorum, ${MAIN_SHARDS} shards`, op, kvorum.inFlight, ours);
  const etcdCell = cellOf(`etcd ${etcd.cluster.version}`, op, side.inFlight, theirs);
  bench.cells.push(cell, etcdCell);
  return rowOf(row, cell.opsPerSecond.median / etcdCell.opsPerSecond.median, {
    measured: cell.opsPerSecond,
    against: etcdCell.opsPerSecond,
    note: joined(
      `${kvorum.inFlight} in flight : etcd ${side.how}, ${side.inFlight} in flight`,
      troubleOf(cell),
      troubleOf(etcdCell),
    ),
  });
}

async function latencyRow(bench: Bench): Promise<RowResult> {
  const kvorum = await kvorumSide(bench, MAIN_SHARDS, 'put', 1);
  const brokers = await bench.systems.brokers();
  const load = await openKafkaFloor(bench.workspace, brokers);
  const floor: Side = { load, op: 'put', inFlight: 1, groups: { brokers: brokers.pids } };
  const [ours, bare] = await inTurn(kvorum, floor, bench.sizes);
  const cell = cellOf(`kvorum, ${MAIN_SHARDS} shards`, 'put', 1, ours);
  const bareCell = cellOf('kafkajs, 256 B records', 'put', 1, bare);
  bench.cells.push(cell, bareCell, await largeRecordCell(bench, floor));
  await load.close();
  return rowOf('p50', cell.p50Us / bareCell.p50Us, {
    measured: sampleOf(ours.map((run) => run.p50Us)),
    against: sampleOf(bare.map((run) => run.p50Us)),
    note: joined(
      `µs; p99 ${Math.round(cell.p99Us)} : ${Math.round(bareCell.p99Us)}`,
      troubleOf(cell),
    ),
  });
}

/** What Kafka alone carries in records as large as a busy shard's. */
async function largeRecordCell(bench: Bench, floor: Side): Promise<Cell> {
  const sizes = { ...bench.sizes, valueBytes: LARGE_RECORD_BYTES };
  const run = await measure(floor, sizes, sizes.measureMs);
  return cellOf(`kafkajs, ${LARGE_RECORD_BYTES / 1024} KiB records`, 'put', 1, [run]);
}

async function shardsRow(bench: Bench): Promise<RowResult> {
  const many = await bestKvorum(bench, MANY_SHARDS, 'put');
  const few = await bestKvorum(bench, MAIN_SHARDS, 'put');
  const [manyRuns, fewRuns] = await inTurn(many, few, bench.sizes);
  const manyCell = cellOf(`kvorum, ${MANY_SHARDS} shards`, 'put', many.inFlight, manyRuns);
  const fewCell = cellOf(`kvorum, ${MAIN_SHARDS} shards`, 'put', few.inFlight, fewRuns);
  bench.cells.push(manyCell, fewCell);
  return rowOf('shards16', manyCell.opsPerSecond.median / fewCell.opsPerSecond.median, {
    measured: manyCell.opsPerSecond,
    against: fewCell.opsPerSecond,
    note: joined(
      `${many.inFlight} : ${few.inFlight} in flight`,
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
