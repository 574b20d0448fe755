import { describeOperation } from './describe-operation.ts';
import type { Findings } from './finding.ts';
import type { RecordedOperation } from './recorded-history.ts';

/** An operation with its place in the order of revisions. */
export interface Placed {
  readonly operation: RecordedOperation;
  readonly revision: number;
  /** Whether the revision is its own: then no other operation may have been answered with it before. */
  readonly wrote: boolean;
}

/** Somebody had seen `revision` at this time. */
export interface Sighting {
  readonly at: number;
  readonly revision: number;
  readonly by: string;
  readonly operation: number | undefined;
}

/** The highest revision that anybody had seen before a time. */
export class SeenRevisions {
  readonly #times: readonly number[];
  readonly #highest: readonly number[];

  constructor(operations: readonly RecordedOperation[], sightings: readonly Sighting[]) {
    const seen: { readonly at: number; readonly revision: number }[] = [...sightings];
    for (const { result, return: at } of operations) {
      if (result.outcome === 'ok' && at !== undefined) seen.push({ at, revision: result.revision });
    }
    seen.sort((a, b) => a.at - b.at);
    let highest = 0;
    this.#times = seen.map(({ at }) => at);
    this.#highest = seen.map(({ revision }) => {
      highest = Math.max(highest, revision);
      return highest;
    });
  }

  before(time: number): number {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#times[middle] as number) < time) low = middle + 1;
      else high = middle;
    }
    return this.#highest[low - 1] ?? 0;
  }
}

interface Point {
  readonly at: number;
  /** Calls sort before sightings of the same time: equal times are concurrent. */
  readonly rank: 0 | 1;
  readonly placed: Placed | undefined;
  readonly sighting: Sighting | undefined;
}

/**
 * Real time against revisions: nothing that begins after a revision was seen stands below it. Serializable reads are not bound by
 * what was seen, but what they showed binds the others.
 */
export function checkRealTime(
  placed: readonly Placed[],
  sightings: readonly Sighting[],
  findings: Findings,
): void {
  const points = pointsOf(placed, sightings);
  let highest: Sighting | undefined;
  for (const { placed: one, sighting } of points) {
    if (sighting !== undefined && sighting.revision > (highest?.revision ?? 0)) highest = sighting;
    if (one === undefined || highest === undefined) continue;
    const least = one.wrote ? highest.revision + 1 : highest.revision;
    if (one.revision < least) addStale(one, highest, findings);
  }
}

function pointsOf(placed: readonly Placed[], sightings: readonly Sighting[]): readonly Point[] {
  const points: Point[] = sightings.map((sighting) => point(sighting.at, undefined, sighting));
  for (const one of placed) {
    const { operation, revision } = one;
    if (!isStale(operation)) points.push(point(operation.call, one, undefined));
    if (operation.result.outcome !== 'ok' || operation.return === undefined) continue;
    const by = `#${operation.id}`;
    const sighting = { at: operation.return, revision, by, operation: operation.id };
    points.push(point(operation.return, undefined, sighting));
  }
  return points.sort((a, b) => a.at - b.at || a.rank - b.rank);
}

function point(at: number, placed: Placed | undefined, sighting: Sighting | undefined): Point {
  return { at, rank: placed === undefined ? 1 : 0, placed, sighting };
}

function isStale({ request }: RecordedOperation): boolean {
  return request.op === 'range' && request.serializable === true;
}

function addStale({ operation, revision }: Placed, seen: Sighting, findings: Findings): void {
  const what = describeOperation(operation);
  const before = `${seen.by} had seen revision ${seen.revision} at ${seen.at}`;
  findings.add(
    'stale',
    `${what}: stands at revision ${revision}, but ${before}, before it was called at ${operation.call}`,
    seen.operation === undefined ? [operation.id] : [operation.id, seen.operation],
    { at: operation.return ?? operation.call },
  );
}
