import type { Bench } from './bench.ts';
import { type Cell, cellOf, othersOf, troubleOf } from './cells.ts';
import { measure, type Side } from './comparison.ts';
import { LARGE_RECORD_BYTES, openKafkaFloor } from './kafka-floor.ts';
import type { Measurement } from './load.ts';
import { sleep } from './processes.ts';
import { type RowResult, rowOf, sampleOf } from './rows.ts';
import { cpuSecondsOfGroups } from './worker/process-usage.ts';

const SHARDS = 4;
/** Two windows in a row whose medians differ by less than this: what runs is compiled. */
const SETTLED = 0.05;
const REST_MS = 3000;
const UNSETTLED = 'a side never settled: the machine is busy with other things';

/**
 * One operation at a time: a put, a bare produce and a hop in turn, in short windows, after each of them has settled.
 * Nothing else runs: etcd and the other clusters are stopped.
 */
export async function latencyRow(bench: Bench): Promise<RowResult> {
  const { latency } = bench.sizes;
  await bench.systems.onlyKvorum(SHARDS);
  const brokers = await bench.systems.brokers();
  const put: Side = { ...(await bench.kvorumWay(SHARDS, 'put')), inFlight: 1 };
  const load = await openKafkaFloor(bench.workspace, brokers);
  const bare: Side = { load, op: 'put', inFlight: 1, groups: { brokers: brokers.pids } };
  const sides: readonly Side[] = [put, bare, { ...put, op: 'hop' }];
  const warm: (number | undefined)[] = [];
  for (const side of sides) warm.push(await settle(bench, side));
  const restPercent = await cpuAtRest(put.groups);
  const runs = sides.map((): Measurement[] => []);
  for (let turn = 0; turn < latency.turns; turn += 1) {
    for (const [i, side] of sides.entries()) runs[i]?.push(await one(bench, side, turn));
  }
  const [puts = [], produces = [], hops = []] = runs;
  const name = `kvorum, ${SHARDS} shards`;
  const putCell = cellOf(name, 'put', 1, puts);
  const bareCell = cellOf('kafkajs, 256 B records', 'put', 1, produces);
  const hopCell = cellOf(`${name}, serializable`, 'hop', 1, hops);
  for (const cell of [putCell, bareCell, hopCell]) bench.addCell(cell);
  bench.addCell(await largeRecordCell(bench, bare));
  await load.close();
  const restUs = putCell.p50Us - bareCell.p50Us - hopCell.p50Us;
  const pieces = { putUs: putCell.p50Us, produceUs: bareCell.p50Us, hopUs: hopCell.p50Us, restUs };
  const us = (value: number): string => String(Math.round(value));
  const notes = [
    `µs; of a put ${us(hopCell.p50Us)} are the hop to the member and back, ${us(bareCell.p50Us)} a bare produce, ${us(restUs)} remain`,
    `p99 ${us(putCell.p99Us)} : ${us(bareCell.p99Us)}`,
    othersOf(putCell, bareCell),
    warm.includes(undefined) ? UNSETTLED : '',
    troubleOf(putCell),
    troubleOf(bareCell),
  ];
  return rowOf('p50', putCell.p50Us / bareCell.p50Us, {
    measured: sampleOf(puts.map((run) => run.p50Us)),
    against: sampleOf(produces.map((run) => run.p50Us)),
    note: notes.filter((text) => text !== '').join('; '),
    detail: {
      pieces,
      hop: sampleOf(hops.map((run) => run.p50Us)),
      settledAfter: warm.map((windows) => windows ?? 'never'),
      restPercent,
    },
  });
}

async function one(bench: Bench, side: Side, turn: number): Promise<Measurement> {
  const { warmUpMs, measureMs } = bench.sizes.latency;
  return measure(side, { ...bench.sizes, warmUpMs }, measureMs, turn);
}

/** Runs windows until two in a row agree, but no more than planned. Answers how many it took; undefined when they never did. */
async function settle(bench: Bench, side: Side): Promise<number | undefined> {
  const { settleWindows } = bench.sizes.latency;
  let before = Number.NaN;
  for (let window = 1; window <= settleWindows; window += 1) {
    const { p50Us } = await one(bench, side, window);
    if (Math.abs(p50Us - before) < SETTLED * before) return window;
    before = p50Us;
  }
  return undefined;
}

/** What each group takes of one core while nobody asks anything: the bare produce is measured beside it. */
async function cpuAtRest(groups: Side['groups']): Promise<Record<string, number>> {
  const before = cpuSecondsOfGroups(groups);
  await sleep(REST_MS);
  const after = cpuSecondsOfGroups(groups);
  const percent = Object.entries(after).map(([name, seconds]) => {
    const used = seconds - (before[name] ?? Number.NaN);
    return [name, Math.round((used * 1e5) / REST_MS)] as const;
  });
  return Object.fromEntries(percent);
}

/** What Kafka alone carries in records as large as a busy shard's. */
async function largeRecordCell(bench: Bench, floor: Side): Promise<Cell> {
  const sizes = { ...bench.sizes, valueBytes: LARGE_RECORD_BYTES };
  const run = await measure(floor, sizes, sizes.measureMs);
  return cellOf(`kafkajs, ${LARGE_RECORD_BYTES / 1024} KiB records`, 'put', 1, [run]);
}
