import type { Cell } from './cells.ts';
import { GOALS, type RowResult, type Sample } from './rows.ts';

/** One row as it is printed the moment it is known. */
export function rowLine(result: RowResult): string {
  const { title, unit } = GOALS[result.row];
  const value = Number.isNaN(result.value) ? '-' : `${rounded(result.value)} ${unit}`;
  return `${result.verdict}  ${result.row}  ${value}  (${title}; ${result.note})`;
}

/** The table of rows. */
export function rowsTable(rows: readonly RowResult[]): string {
  const lines = rows.map((result) => {
    const { title, floor, aim, unit, better } = GOALS[result.row];
    const sign = better === 'higher' ? '≥' : '≤';
    return [
      result.verdict,
      result.row,
      title,
      Number.isNaN(result.value) ? '-' : `${rounded(result.value)} ${unit}`,
      `${sign} ${floor}`,
      `${sign} ${aim}`,
      sampleText(result.measured),
      sampleText(result.against),
      result.note,
    ];
  });
  const head = ['', 'row', 'measure', 'result', 'floor', 'aim', 'measured', 'against', 'note'];
  return table([head, ...lines]);
}

/** The table of loads: throughput, latency and who spent the CPU. */
export function cellsTable(cells: readonly Cell[]): string {
  const head = ['system', 'op', 'in flight', 'ops/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'errors'];
  const lines = cells.map((cell) => [
    cell.system,
    cell.op,
    String(cell.inFlight),
    sampleText(cell.opsPerSecond),
    rounded(cell.p50Us / 1000),
    rounded(cell.p99Us / 1000),
    rounded(cell.p999Us / 1000),
    String(Object.values(cell.errors).reduce((sum, count) => sum + count, 0)),
  ]);
  return table([head, ...lines]);
}

/**
 * CPU µs per operation by process group: all that the cores had to give while one operation was done. `others` are
 * the kernel's own threads, the systems at rest, and whatever else runs on the machine.
 */
export function microsecondsTable(cells: readonly Cell[]): string {
  const groups = ['members', 'brokers', 'client', 'others', 'idle'];
  const lines = cells.map((cell) => [
    `${cell.system}, ${cell.op}, ${cell.inFlight} in flight`,
    ...groups.map((name) => rounded(cell.cpuUsPerOp[name] ?? Number.NaN)),
  ]);
  return table([['CPU µs per operation', ...groups], ...lines]);
}

function sampleText(sample: Sample | undefined): string {
  if (sample === undefined) return '';
  const middle = rounded(sample.median);
  return sample.n === 1
    ? middle
    : `${middle} (${rounded(sample.min)}–${rounded(sample.max)}, n=${sample.n})`;
}

function rounded(value: number): string {
  if (Number.isNaN(value)) return '-';
  return value >= 100 ? String(Math.round(value)) : value.toPrecision(3);
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
