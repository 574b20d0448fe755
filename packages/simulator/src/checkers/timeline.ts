import type { CheckReport } from './check-history.ts';
import { describeRequest, describeResult } from './describe-operation.ts';
import type { Finding } from './finding.ts';
import { keyText, shown } from './key-text.ts';
import type { RecordedEvents, RecordedHistory, RecordedOperation } from './recorded-history.ts';
import { TIMELINE_SCRIPT, TIMELINE_STYLE } from './timeline-page.ts';

/** Operations drawn at most; a longer history is cut to what surrounds its findings. */
const DRAWN_MAX = 20_000;

/** A bar: [lane, start, end, kind, id, title, result, marks]. `end` null = never ended. */
type Bar = readonly [
  lane: number,
  start: number,
  end: number | null,
  kind: 'ok' | 'failed' | 'unknown' | 'event' | 'note',
  name: string,
  title: string,
  result: string,
  findings: readonly number[],
];

/**
 * A page for people, complete in itself: processes as lanes, operations as bars in the colour of their outcome, watches and faults as
 * lanes of their own, offending operations marked with the reason; it scrolls, zooms and shows details under the pointer.
 */
export function renderTimeline(history: RecordedHistory, report: CheckReport): string {
  const { lanes, bars, cut } = drawing(history, report);
  const data = {
    title: `${history.header.source} history`,
    tick: history.header.tick,
    run: history.header.run ?? {},
    counts: report.counts,
    verdict: report.verdict,
    unverified: report.unverified,
    more: report.moreFindings,
    cut,
    lanes,
    bars,
    findings: report.findings,
  };
  // `<` would end the script element inside a value.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kvorum history: ${report.verdict}</title>
<style>${TIMELINE_STYLE}</style>
</head>
<body>
<header id="head"></header>
<main><aside id="findings"></aside><section id="chart" tabindex="0"></section></main>
<div id="tip" hidden></div>
<script type="application/json" id="data">${json}</script>
<script>${TIMELINE_SCRIPT}</script>
</body>
</html>
`;
}

interface Drawing {
  readonly lanes: readonly string[];
  readonly bars: readonly Bar[];
  /** Operations that are not drawn. */
  readonly cut: number;
}

function drawing(history: RecordedHistory, report: CheckReport): Drawing {
  const marks = marksOf(report.findings);
  const drawn = within(history.operations, report.findings);
  const span = spanOf(drawn);
  const inSpan = (at: number): boolean => drawn.length === 0 || (at >= span.from && at <= span.to);
  const lanes = new Lanes();
  const bars: Bar[] = [];
  for (const { at, text, until } of history.notes) {
    if (inSpan(at))
      bars.push([lanes.of('faults', at, until ?? at), at, until ?? at, 'note', '', text, '', []]);
  }
  for (const operation of drawn.toSorted((a, b) => a.call - b.call)) {
    const { call, id, process, request, result } = operation;
    const end = operation.return ?? null;
    const lane = lanes.of(process, call, end ?? Number.POSITIVE_INFINITY);
    const about = `shard ${operation.shard} ${describeRequest(request)}`;
    const what = describeResult(operation);
    bars.push([
      lane,
      call,
      end,
      result.outcome,
      `#${id}`,
      about,
      what,
      marks.operations.get(id) ?? [],
    ]);
  }
  for (const line of history.watches) {
    if (line.type !== 'events' || line.events.length === 0 || !inSpan(line.at)) continue;
    const about = describeDelivery(line);
    const found = (marks.streams.get(line.stream) ?? []).filter(
      (i) => report.findings[i]?.at === line.at,
    );
    const lane = lanes.of(`watch ${line.stream}`, line.at, line.at);
    bars.push([lane, line.at, line.at, 'event', line.stream, about, '', found]);
  }
  return { ...lanes.sorted(bars), cut: history.operations.length - drawn.length };
}

/** Lanes by name; what overlaps in one of them gets a lane below it. */
class Lanes {
  readonly #names: string[] = [];
  readonly #byName = new Map<string, { readonly lane: number; until: number }[]>();

  of(name: string, from: number, to: number): number {
    const rows = this.#byName.get(name) ?? [];
    this.#byName.set(name, rows);
    const row = rows.find(({ until }) => until <= from);
    if (row !== undefined) {
      row.until = to;
      return row.lane;
    }
    const lane = this.#names.length;
    this.#names.push(rows.length === 0 ? name : `${name} `);
    rows.push({ lane, until: to });
    return lane;
  }

  /** Faults first, then processes, then watches, each by name. */
  sorted(bars: readonly Bar[]): {
    readonly lanes: readonly string[];
    readonly bars: readonly Bar[];
  } {
    const rank = (name: string): number =>
      name.startsWith('faults') ? 0 : name.startsWith('watch ') ? 2 : 1;
    const order = [...this.#names.keys()].sort((a, b) => {
      const [one, two] = [this.#names[a] ?? '', this.#names[b] ?? ''];
      return rank(one) - rank(two) || one.localeCompare(two, 'en', { numeric: true }) || a - b;
    });
    const places = new Map(order.map((lane, place) => [lane, place] as const));
    return {
      lanes: order.map((lane) => this.#names[lane] ?? ''),
      bars: bars.map(([lane, ...rest]) => [places.get(lane) ?? 0, ...rest]),
    };
  }
}

function describeDelivery({ events, through }: RecordedEvents): string {
  const texts = events.map(({ kv, type }) => {
    const value =
      type === 'delete' ? '(deleted)' : kv.value === undefined ? '?' : shown(keyText(kv.value));
    return `${shown(keyText(kv.key))}=${value}@${kv.modRevision}`;
  });
  const more = texts.length > 8 ? ` and ${texts.length - 8} more` : '';
  const promise = through === undefined ? '' : ` (all up to ${through})`;
  return `${texts.slice(0, 8).join(', ')}${more}${promise}`;
}

function marksOf(findings: readonly Finding[]): {
  readonly operations: ReadonlyMap<number, readonly number[]>;
  readonly streams: ReadonlyMap<string, readonly number[]>;
} {
  const operations = new Map<number, number[]>();
  const streams = new Map<string, number[]>();
  for (const [i, finding] of findings.entries()) {
    for (const id of finding.operations) operations.set(id, [...(operations.get(id) ?? []), i]);
    for (const name of finding.streams ?? []) streams.set(name, [...(streams.get(name) ?? []), i]);
  }
  return { operations, streams };
}

/** All operations, or those around the first findings when there are too many to draw. */
function within(
  operations: readonly RecordedOperation[],
  findings: readonly Finding[],
): readonly RecordedOperation[] {
  if (operations.length <= DRAWN_MAX) return operations;
  const wanted = new Set(findings.flatMap((finding) => finding.operations));
  const sorted = operations.toSorted((a, b) => a.call - b.call);
  const first = Math.max(
    0,
    sorted.findIndex(({ id }) => wanted.has(id)),
  );
  const from = Math.max(0, Math.min(first - DRAWN_MAX / 2, sorted.length - DRAWN_MAX));
  const near = sorted.slice(from, from + DRAWN_MAX);
  const far = [...sorted.slice(0, from), ...sorted.slice(from + DRAWN_MAX)];
  return [...near, ...far.filter(({ id }) => wanted.has(id))];
}

function spanOf(operations: readonly RecordedOperation[]): { from: number; to: number } {
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  for (const { call, return: end } of operations) {
    from = Math.min(from, call);
    to = Math.max(to, end ?? call);
  }
  return { from, to };
}
