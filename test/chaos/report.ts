import type { Outcomes } from './recorder.ts';

/** One episode as it went. Times in milliseconds; `atMs` since the start of the run. */
export interface EpisodeReport {
  readonly leg: number;
  readonly atMs: number;
  readonly faults: readonly { readonly kind: string; readonly text: string }[];
  /** From the first injection to the last heal. */
  readonly faultyMs: number;
  readonly recoveryMs: number;
  /** What came back last. */
  readonly recoveredLast: string;
  /** Shard → longest time without an acknowledged write, from the first injection to the recovery. */
  readonly unavailableMs: Readonly<Record<string, number>>;
  /** The same for linearizable reads. */
  readonly unreadableMs: Readonly<Record<string, number>>;
}

/** Everything a run came to. */
export interface ChaosReport {
  readonly seed: number;
  readonly minutes: number;
  readonly opsPerSecond: number;
  readonly legs: number;
  readonly episodes: readonly EpisodeReport[];
  /** Faults outside the episodes: weakened settings, the rewritten tail. */
  readonly besides: readonly string[];
  /** What could not be injected on this machine, and why. */
  readonly skipped: readonly string[];
  readonly operations: Readonly<Record<string, Outcomes>>;
  readonly codes: Readonly<Record<string, number>>;
  readonly watchEvents: number;
  /** The longest time that this process itself did not get to run: the machine was that busy. */
  readonly stalledMs: number;
  /** Of the time, how much something on this machine waited for a processor (Linux). */
  readonly cpuWaitPercent: number;
  readonly violations: readonly string[];
  /** Where the histories are; they are kept after a failure. */
  readonly files: readonly string[];
}

export interface FaultRow {
  readonly fault: string;
  readonly times: number;
  /** Over all shards and times. */
  readonly unavailableMs: { readonly median: number; readonly worst: number };
  /** The same for linearizable reads. */
  readonly unreadableMs: { readonly median: number; readonly worst: number };
  readonly recoveryMs: { readonly median: number; readonly worst: number };
}

/** One row a kind of fault; an episode of two faults counts for the pair. */
export function faultRows(episodes: readonly EpisodeReport[]): readonly FaultRow[] {
  const byKind = new Map<string, EpisodeReport[]>();
  for (const episode of episodes) {
    const name = episode.faults.map(({ kind }) => kind).join(' + ');
    byKind.set(name, [...(byKind.get(name) ?? []), episode]);
  }
  return [...byKind]
    .map(([fault, of]) => ({
      fault,
      times: of.length,
      unavailableMs: spread(of.flatMap(({ unavailableMs }) => Object.values(unavailableMs))),
      unreadableMs: spread(of.flatMap(({ unreadableMs }) => Object.values(unreadableMs))),
      recoveryMs: spread(of.map(({ recoveryMs }) => recoveryMs)),
    }))
    .sort((a, b) => a.fault.localeCompare(b.fault));
}

/** For people. */
export function reportText(report: ChaosReport): string {
  const rows = faultRows(report.episodes).map((row) => [
    row.fault,
    `${row.times}`,
    `${row.unavailableMs.median}`,
    `${row.unavailableMs.worst}`,
    `${row.unreadableMs.median}`,
    `${row.unreadableMs.worst}`,
    `${row.recoveryMs.median}`,
    `${row.recoveryMs.worst}`,
  ]);
  const head = [
    'fault',
    'times',
    'no writes ms',
    'worst',
    'no reads ms',
    'worst',
    'recovery ms',
    'worst',
  ];
  const operations = Object.entries(report.operations).map(([kind, { ok, failed, unknown }]) => [
    kind,
    `${ok}`,
    `${failed}`,
    `${unknown}`,
  ]);
  const codes = Object.entries(report.codes).map(([code, times]) => `${code} ${times}`);
  const sections = [
    `seed ${report.seed}, ${report.minutes} minutes, ${report.opsPerSecond} operations a second, ${report.legs} cluster(s)`,
    table(head, rows),
    table(['operation', 'ok', 'failed', 'unknown'], operations),
    `errors: ${codes.join(', ') || 'none'}`,
    `events seen by watchers: ${report.watchEvents}; longest stall of this process: ${report.stalledMs} ms; something waited for a processor ${report.cpuWaitPercent} % of the time`,
    ...report.besides,
    ...report.skipped.map((what) => `SKIPPED ${what}`),
    ...report.violations.map((what) => `VIOLATION ${what}`),
    ...report.files.map((file) => `kept: ${file}`),
    report.violations.length === 0 ? 'no violation' : `${report.violations.length} violation(s)`,
  ];
  return `${sections.join('\n\n')}\n`;
}

function spread(values: readonly number[]): { readonly median: number; readonly worst: number } {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, worst: sorted.at(-1) ?? 0 };
}

/** Left column as text, the others as numbers. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  '),
    )
    .join('\n');
}
