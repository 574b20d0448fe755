import type { Bench } from './bench.ts';
import { cellOf, othersOf, troubleOf } from './cells.ts';
import { measure, type Side } from './comparison.ts';
import type { Measurement } from './load.ts';
import { progress } from './processes.ts';
import { type RowId, type RowResult, rowOf, sampleOf } from './rows.ts';

const WARM_UP_MS = 200;
const WINDOW_MS = 1000;
/** Of each disturbance; a longer one is measured for so long. */
const WINDOWS_MAX = 60;
/** Of the quiet cluster before each disturbance. */
const QUIET_WINDOWS = 8;
/** As many as fill the batches of four shards without the queues being all that the latency shows. */
export const IN_FLIGHT = 1000;

/** Something that goes on beside the clients. */
export interface Disturbance {
  /** Brings the cluster to where it can begin; nothing is measured. */
  readonly prepare?: () => Promise<void>;
  /** Resolves when it is under way. */
  readonly begin: () => Promise<void>;
  readonly isUnderWay: () => Promise<boolean>;
  /** Afterwards; nothing is measured. */
  readonly finish?: () => Promise<void>;
}

/** Windows of one load, with and without. */
export interface Disturbed {
  readonly quiet: Measurement[];
  readonly during: Measurement[];
  /** How long each disturbance was under way, about. */
  readonly seconds: number[];
}

/** Measures short windows before and during a disturbance; those in which it came to its end count only when there is no other. */
export async function disturb(
  bench: Bench,
  side: Side,
  disturbance: Disturbance,
  into: Disturbed,
): Promise<void> {
  const sizes = { ...bench.sizes, warmUpMs: WARM_UP_MS };
  for (let i = 0; i < QUIET_WINDOWS; i += 1) {
    into.quiet.push(await measure(side, sizes, WINDOW_MS, into.quiet.length));
  }
  await disturbance.prepare?.();
  await disturbance.begin();
  const startedAt = performance.now();
  let last: Measurement | undefined;
  let counted = 0;
  while (counted < WINDOWS_MAX) {
    last = await measure(side, sizes, WINDOW_MS, into.during.length);
    if (!(await disturbance.isUnderWay())) break;
    into.during.push(last);
    counted += 1;
  }
  if (counted === 0 && last !== undefined) into.during.push(last);
  into.seconds.push((performance.now() - startedAt) / 1000);
  progress(`disturbed for ${(into.seconds.at(-1) ?? 0).toFixed(1)} s, ${counted} whole windows`);
  await disturbance.finish?.();
}

/** Mean over all windows: a stall counts for what it costs. */
const meanOf = (runs: readonly Measurement[]): number =>
  runs.reduce((sum, { opsPerSecond }) => sum + opsPerSecond, 0) / runs.length;

const millis = (us: number): string => (us / 1000).toFixed(0);

/** Throughput while it goes on over that of the quiet cluster, with both 99th percentiles beside it. */
export function disturbedRow(
  bench: Bench,
  { row, side, note }: { readonly row: RowId; readonly side: Side; readonly note: string },
  { quiet, during, seconds }: Disturbed,
): RowResult {
  const quietCell = cellOf(`${row}: quiet`, side.op, side.inFlight, quiet);
  const duringCell = cellOf(`${row}: meanwhile`, side.op, side.inFlight, during);
  bench.addCell(quietCell);
  bench.addCell(duringCell);
  const p99 = sampleOf(during.map(({ p99Us }) => p99Us));
  const texts = [
    note,
    `p99 ${millis(p99.median)} ms (worst second ${millis(p99.max)}) : ${millis(quietCell.p99Us)} ms`,
    `${during.length} windows of 1 s`,
    othersOf(duringCell, quietCell),
    troubleOf(duringCell),
    troubleOf(quietCell),
  ];
  return rowOf(row, meanOf(during) / meanOf(quiet), {
    measured: duringCell.opsPerSecond,
    against: quietCell.opsPerSecond,
    note: texts.filter((text) => text !== '').join('; '),
    detail: {
      inFlight: side.inFlight,
      seconds,
      during: during.map(({ opsPerSecond, p99Us }) => ({ opsPerSecond, p99Us })),
      quiet: quiet.map(({ opsPerSecond, p99Us }) => ({ opsPerSecond, p99Us })),
    },
  });
}
