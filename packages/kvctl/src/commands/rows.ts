import type { Context } from '../context.ts';
import { fieldLines, jsonLine } from '../output.ts';
import { drawTable } from '../table.ts';

/** Rows in the format asked for: JSON objects, a table, a field a line, or `a, b, c` lines as etcdctl's. */
export function printRows(
  context: Context,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  json: unknown,
): void {
  const { format } = context.globals();
  if (format === 'json') context.io.out(jsonLine(json));
  else if (format === 'table') context.io.out(drawTable(head, rows));
  else if (format === 'fields') {
    const named = (row: readonly string[]): string =>
      fieldLines(Object.fromEntries(row.map((cell, at) => [head[at] ?? '', JSON.stringify(cell)])));
    context.io.out(rows.map((row) => `${named(row)}\n`).join(''));
  } else context.io.out(rows.map((row) => `${row.join(', ')}\n`).join(''));
}

/** `12 kB`, `3.4 MB`. */
export const bytesText = (bytes: number): string =>
  bytes < 1024 * 1024 ? `${Math.ceil(bytes / 1024)} kB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
