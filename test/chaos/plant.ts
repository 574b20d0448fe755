import { readFileSync, writeFileSync } from 'node:fs';

/** Lines of a history file as plain data: what is planted here is to be found by the checkers, so it uses none of their code. */
interface Line {
  readonly type: string;
  readonly id?: number;
  readonly stream?: string;
  readonly events?: readonly unknown[];
  readonly request?: {
    readonly op: string;
    readonly key?: string;
    readonly value?: string;
    readonly serializable?: boolean;
  };
  readonly call?: number;
  readonly return?: number;
  readonly result?: {
    readonly outcome: string;
    readonly revision?: number;
    readonly response?: { readonly op: string; readonly kvs?: readonly KeyLine[] };
  };
}

interface KeyLine {
  readonly value: string;
  readonly modRevision: number;
}

/** Name → what it does to a history, and what a checker must say of it. */
export const PLANTS: Readonly<
  Record<string, { readonly damage: (lines: readonly Line[]) => Line[]; readonly found: RegExp }>
> = {
  'a stale read': { damage: staleRead, found: /stale|not-linearizable|wrong-read/ },
  'a lost acknowledged write': { damage: lostWrite, found: /lost-write/ },
  'a missing watch event': { damage: (lines) => changeEvents(lines, []), found: /watch-missing/ },
  'a duplicate watch event': {
    damage: (lines) => changeEvents(lines, ['one', 'two']),
    // Several events of one revision that come again are a torn delivery of it.
    found: /watch-duplicate|watch-order|watch-torn/,
  },
};

/** Copies a history with something planted in it. */
export function plant(from: string, to: string, name: string): void {
  const text = readFileSync(from, 'utf8').trimEnd().split('\n');
  // The end counts the lines; without the number it only ends.
  const lines = text.slice(0, -1).map((line) => JSON.parse(line) as Line);
  const damaged = PLANTS[name]?.damage(lines) ?? lines;
  const written = [...damaged, { type: 'end' }].map((line) => JSON.stringify(line));
  writeFileSync(to, `${written.join('\n')}\n`);
}

/** Of one key, and not one that may be stale. */
const isLinearizableRead = (line: Line): boolean =>
  line.request?.op === 'range' &&
  line.request.serializable !== true &&
  line.result?.response?.kvs?.length === 1;

const revisionRead = (line: Line): number => line.result?.response?.kvs?.[0]?.modRevision ?? 0;

/** A read in the middle of the run finds a value older than one that was read before it began. */
function staleRead(lines: readonly Line[]): Line[] {
  const reads = lines.filter(isLinearizableRead);
  for (const late of reads.slice(Math.floor(reads.length / 2))) {
    const ofKey = reads.filter(({ request }) => request?.key === late.request?.key);
    const before = ofKey.filter((read) => (read.return ?? Infinity) < (late.call ?? 0));
    const known = Math.max(0, ...before.map(revisionRead));
    const early = before.find((read) => revisionRead(read) < known);
    if (early?.result !== undefined) return replace(lines, late, { ...late, result: early.result });
  }
  throw new TypeError('no key was read twice');
}

/** A write is acknowledged that is nowhere. */
function lostWrite(lines: readonly Line[]): Line[] {
  const puts = lines.filter(
    ({ request, result }) => request?.op === 'put' && result?.outcome === 'ok',
  );
  const put = puts[Math.floor(puts.length / 2)];
  if (put?.request === undefined) throw new TypeError('nothing was put');
  const lost = { ...put, id: 1e9, request: { ...put.request, value: 'lost' } };
  return [...lines, lost];
}

/** The first delivery to the watcher of everything comes as often as `copies` has elements. */
function changeEvents(lines: readonly Line[], copies: readonly string[]): Line[] {
  const isFirst = (line: Line): boolean =>
    line.type === 'events' &&
    line.stream?.startsWith('watch-all') === true &&
    line.events !== undefined;
  const first = lines.find((line) => isFirst(line) && (line.events?.length ?? 0) > 0);
  return lines.flatMap((line) => (line === first ? copies.map(() => line) : [line]));
}

function replace(lines: readonly Line[], old: Line, by: Line): Line[] {
  return lines.map((line) => (line === old ? by : line));
}
