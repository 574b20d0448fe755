import { assert, compareBytes } from '@kvorum/base';
import { getMany, keyAfter, type Reading, scanChunk } from './reading.ts';
import {
  decodeHead,
  type Head,
  headKey,
  headRange,
  revisionKey,
  rowIsTombstone,
  rowMain,
  rowPrevMain,
  rowPrevSub,
  userKeyOfHead,
} from './row-codec.ts';

/** Values fetched by one get-many at most: bounds the memory of one answer of the store. */
const ROWS_PER_FETCH_MAX = 1024;

export interface HeadEntry {
  readonly key: Uint8Array;
  readonly head: Head;
}

/**
 * The state that a reading looks at: the store, and above it what is not in the store yet (the earlier commands of a batch).
 */
export interface Snapshot {
  /** Newest visible revision. */
  readonly revision: number;
  /** Highest revision whose history may be missing from the store; moves while the reading runs. */
  compactRevision(): number;
  /** Head of a key if it is known without the store. */
  knownHead(key: Uint8Array): Head | undefined;
  /** Heads that are newer than the store's, with gte <= store key < lt, in key order. */
  overlay(gte: Uint8Array, lt: Uint8Array): readonly HeadEntry[];
  /** A revision row that is not in the store yet. */
  localRow(main: number, sub: number): Uint8Array | undefined;
  /** Whether a key that stands in the store belongs to another shard. */
  hides(key: Uint8Array): boolean;
}

/** A live version of a key, visible at the revision of the reading. */
export interface Found {
  readonly key: Uint8Array;
  readonly head: Head;
  /** Its revision row, when finding it needed the row anyway. */
  readonly row: Uint8Array | undefined;
}

/** Position of a revision row. */
export interface Pointer {
  readonly main: number;
  readonly sub: number;
}

/**
 * For each pointer the newest row at or below revision `at` among it and its predecessors; undefined when there is none
 * or it is a tombstone.
 *
 * A predecessor that is missing at or below the compact revision was a compacted tombstone: the key did not exist.
 * Cost: one get-many per step back, for all keys together.
 */
export function* rowsAt(
  snapshot: Pick<Snapshot, 'compactRevision' | 'localRow'>,
  pointers: readonly Pointer[],
  at: number,
): Reading<readonly (Uint8Array | undefined)[]> {
  const found: (Uint8Array | undefined)[] = new Array<Uint8Array | undefined>(pointers.length).fill(
    undefined,
  );
  let pending: Pointer[] = [...pointers];
  let indexes = pointers.map((_, index) => index);
  while (pending.length > 0) {
    const rows = yield* fetchRows(snapshot, pending);
    const next: Pointer[] = [];
    const nextIndexes: number[] = [];
    for (const [i, { main }] of pending.entries()) {
      const row = rows[i];
      const index = indexes[i] as number;
      const older = row === undefined ? undefined : olderThan(row, at);
      assert(row !== undefined || main <= snapshot.compactRevision(), `row ${main} is missing`);
      if (older !== undefined) {
        next.push(older);
        nextIndexes.push(index);
      } else if (row !== undefined && rowMain(row) <= at && !rowIsTombstone(row)) {
        found[index] = row;
      }
    }
    pending = next;
    indexes = nextIndexes;
  }
  return found;
}

/** Where to look on when a row is newer than `at`; undefined = it is not, or it is the first of its key. */
function olderThan(row: Uint8Array, at: number): Pointer | undefined {
  const main = rowPrevMain(row);
  return rowMain(row) > at && main > 0 ? { main, sub: rowPrevSub(row) } : undefined;
}

/** The rows at exactly these positions, undefined where there is none. */
export function* fetchRows(
  snapshot: Pick<Snapshot, 'localRow'>,
  pointers: readonly Pointer[],
): Reading<readonly (Uint8Array | undefined)[]> {
  const rows: (Uint8Array | undefined)[] = [];
  for (let from = 0; from < pointers.length; from += ROWS_PER_FETCH_MAX) {
    const part = pointers.slice(from, from + ROWS_PER_FETCH_MAX);
    const local = part.map(({ main, sub }) => snapshot.localRow(main, sub));
    const missing = part.filter((_, i) => local[i] === undefined);
    const fetched = yield* getMany(missing.map(({ main, sub }) => revisionKey(main, sub)));
    let next = 0;
    for (const row of local) {
      rows.push(row ?? fetched[next]);
      if (row === undefined) next += 1;
    }
  }
  return rows;
}

/** The versions of `entries` that are visible at revision `at`; deleted and unborn keys are left out. */
export function* visibleAt(
  snapshot: Snapshot,
  entries: readonly HeadEntry[],
  at: number,
): Reading<readonly Found[]> {
  const later = entries.filter(({ head }) => head.modMain > at);
  const pointers = later.map(({ head }) => ({ main: head.modMain, sub: head.modSub }));
  const rows = yield* rowsAt(snapshot, pointers, at);
  const found: Found[] = [];
  let next = 0;
  for (const { key, head } of entries) {
    if (head.modMain <= at) {
      if (!head.deleted) found.push({ key, head, row: undefined });
      continue;
    }
    const row = rows[next];
    next += 1;
    if (row !== undefined) found.push({ key, head: decodeHead(row), row });
  }
  return found;
}

/** Walks the keys of an etcd range in order, some at a time; a single key is a range of one. */
export class VisibleScan {
  private readonly snapshot: Snapshot;
  private readonly at: number;
  private readonly single: Uint8Array | undefined;
  private gte: Uint8Array;
  private readonly lt: Uint8Array;
  done = false;

  constructor(
    snapshot: Snapshot,
    range: { readonly key: Uint8Array; readonly rangeEnd?: Uint8Array },
    at: number,
  ) {
    this.snapshot = snapshot;
    this.at = at;
    const rangeEnd = range.rangeEnd ?? new Uint8Array(0);
    this.single = rangeEnd.length === 0 ? range.key : undefined;
    const bounds = headRange(range.key, rangeEnd);
    this.gte = bounds.gte;
    this.lt = bounds.lt;
    this.done = this.single === undefined && compareBytes(this.gte, this.lt) >= 0;
  }

  /** The next visible keys; may be empty before `done`. */
  *next(): Reading<readonly Found[]> {
    if (this.single !== undefined) {
      this.done = true;
      return yield* this.point(this.single);
    }
    const rows = yield* scanChunk(this.gte, this.lt);
    const last = rows.at(-1);
    const boundary = last === undefined ? this.lt : keyAfter(last[0]);
    const stored = rows
      .map(([key, value]) => ({ key: userKeyOfHead(key), head: decodeHead(value) }))
      .filter(({ key }) => !this.snapshot.hides(key));
    const entries = merge(stored, this.snapshot.overlay(this.gte, boundary));
    this.gte = boundary;
    this.done = last === undefined || compareBytes(boundary, this.lt) >= 0;
    return yield* visibleAt(this.snapshot, entries, this.at);
  }

  private *point(key: Uint8Array): Reading<readonly Found[]> {
    let head = this.snapshot.knownHead(key);
    if (head === undefined) {
      const [value] = yield* getMany([headKey(key)]);
      if (value === undefined) return [];
      head = decodeHead(value);
    }
    return yield* visibleAt(this.snapshot, [{ key, head }], this.at);
  }
}

/** Both lists are in key order; an overlay entry replaces the stored one of its key. */
function merge(stored: readonly HeadEntry[], overlay: readonly HeadEntry[]): readonly HeadEntry[] {
  if (overlay.length === 0) return stored;
  const merged: HeadEntry[] = [];
  let at = 0;
  for (const entry of overlay) {
    let order = -1;
    while (at < stored.length && order < 0) {
      const other = stored[at] as HeadEntry;
      order = compareBytes(other.key, entry.key);
      if (order < 0) merged.push(other);
      if (order <= 0) at += 1;
    }
    merged.push(entry);
  }
  merged.push(...stored.slice(at));
  return merged;
}
