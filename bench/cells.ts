import type { Side } from './comparison.ts';
import type { Measurement } from './load.ts';
import { type Sample, sampleOf } from './rows.ts';

/** Repeated measurements of one load on one system. */
export interface Cell {
  readonly system: string;
  readonly op: Side['op'];
  readonly inFlight: number;
  readonly opsPerSecond: Sample;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly missing: number;
  /** Mean CPU µs per operation by process group. */
  readonly cpuUsPerOp: Readonly<Record<string, number>>;
}

export function cellOf(
  system: string,
  op: Side['op'],
  inFlight: number,
  runs: readonly Measurement[],
): Cell {
  const median = (pick: (run: Measurement) => number): number => sampleOf(runs.map(pick)).median;
  const names = new Set(runs.flatMap((run) => Object.keys(run.cpuUsPerOp)));
  const ops = runs.reduce((sum, run) => sum + run.ops, 0);
  const cpu = Array.from(names, (name) => {
    const total = runs.reduce((sum, run) => sum + (run.cpuUsPerOp[name] ?? 0) * run.ops, 0);
    return [name, total / ops] as const;
  });
  return {
    system,
    op,
    inFlight,
    opsPerSecond: sampleOf(runs.map((run) => run.opsPerSecond)),
    p50Us: median((run) => run.p50Us),
    p99Us: median((run) => run.p99Us),
    p999Us: median((run) => run.p999Us),
    errors: addErrors(runs),
    missing: runs.reduce((sum, run) => sum + run.missing, 0),
    cpuUsPerOp: Object.fromEntries(cpu),
  };
}

function addErrors(runs: readonly Measurement[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const run of runs) {
    for (const [text, count] of Object.entries(run.errors)) out[text] = (out[text] ?? 0) + count;
  }
  return out;
}

/** More than this of the cores taken by others, and the numbers say as much about them. */
const OTHERS_MAX = 0.2;

/** What others took of the cores while these loads were measured, for a row's note. */
export function othersOf(...cells: readonly Cell[]): string {
  const shares = cells.map(({ cpuUsPerOp }) => {
    const all = Object.values(cpuUsPerOp).reduce((sum, us) => sum + us, 0);
    return (cpuUsPerOp['others'] ?? Number.NaN) / all;
  });
  if (shares.some(Number.isNaN)) return '';
  const text = shares.map((share) => `${Math.round(100 * share)} %`).join(' : ');
  const warning = Math.max(...shares) > OTHERS_MAX ? ', BUSY MACHINE: measure again' : '';
  return `others took ${text} of the cores${warning}`;
}

/** What went wrong in a cell, for a row's note; empty when nothing did. */
export function troubleOf(cell: Cell): string {
  const failed = Object.entries(cell.errors).map(([text, count]) => `${count} × ${text}`);
  const missing = cell.missing > 0 ? [`${cell.missing} keys not found`] : [];
  const all = [...failed, ...missing];
  return all.length === 0 ? '' : `${cell.system}: ${all.join(', ')}`;
}
