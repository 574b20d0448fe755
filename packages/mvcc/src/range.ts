import {
  assert,
  compareBytes,
  err,
  type KeyValue,
  KvError,
  ok,
  type RangeRequest,
  type RangeResponse,
  type Result,
  type Revision,
} from '@kvorum/base';
import type { Reading } from './reading.ts';
import { rowKeyValue, rowValue } from './row-codec.ts';
import { type Found, fetchRows, type Snapshot, VisibleScan } from './visible.ts';

/**
 * Answers a range at the snapshot's newest revision or an older one, with all of etcd's options.
 *
 * The keys are walked once, since `count` is about the whole range; values are fetched only for what is returned
 * (or to sort by value).
 * @param bytesMax - of keys and values returned, so that one answer cannot take the member's memory.
 * Errors: KV_FUTURE_REVISION, KV_COMPACTED, KV_REQUEST_TOO_LARGE for an answer above `bytesMax`.
 * Source: etcd server/etcdserver/txn/range.go.
 */
export function* readRange(
  snapshot: Snapshot,
  request: RangeRequest,
  bytesMax: number = Number.POSITIVE_INFINITY,
): Reading<Result<RangeResponse, KvError>> {
  const fault = checkRevision(request.revision, snapshot.revision, snapshot.compactRevision());
  if (fault !== undefined) return err(fault);
  const at = pinnedRevision(request.revision) ?? snapshot.revision;
  const scan = new VisibleScan(snapshot, request, at);
  const selection = new Selection(request);
  while (!scan.done) selection.add(yield* scan.next());
  const sorted = selection.sortsByValue
    ? yield* sortedByValue(snapshot, selection)
    : selection.cut(selection.sorted());
  const kvs = yield* boundedKeyValues(snapshot, sorted, request.keysOnly === true, bytesMax);
  if (!kvs.ok) return kvs;
  return ok({
    op: 'range',
    revision: snapshot.revision as Revision,
    kvs: kvs.value,
    more: selection.more,
    count: selection.count,
  });
}

/** The revision a range asks for; undefined = the newest. */
export function pinnedRevision(revision: number | undefined): number | undefined {
  return revision !== undefined && revision > 0 ? revision : undefined;
}

/** Whether `asked` can be read: neither above the current revision nor below the compact one. */
export function checkRevision(
  asked: number | undefined,
  currentRevision: number,
  compactRevision: number,
): KvError | undefined {
  const pinned = pinnedRevision(asked);
  if (pinned === undefined) return undefined;
  if (pinned > currentRevision) {
    return new KvError('KV_FUTURE_REVISION', undefined, { details: { currentRevision } });
  }
  if (pinned < compactRevision) {
    return new KvError('KV_COMPACTED', undefined, { details: { compactRevision } });
  }
  return undefined;
}

/**
 * Filters, counts and keeps what a range returns.
 *
 * etcd fetches limit + 1 keys in key order when no sort order and no filter is given, and sorts only those: a sort target
 * without an order therefore sorts the first limit + 1 keys. Otherwise it sorts everything and cuts afterwards.
 */
class Selection {
  private readonly request: RangeRequest;
  private readonly limit: number;
  private readonly descending: boolean;
  private readonly target: NonNullable<RangeRequest['sortTarget']>;
  private readonly filtered: boolean;
  private readonly keepFirst: number;
  private readonly keepLast: number;
  private kept: Found[] = [];
  private matched = 0;
  count = 0;

  constructor(request: RangeRequest) {
    this.request = request;
    this.limit = request.limit !== undefined && request.limit > 0 ? request.limit : 0;
    this.target = request.sortTarget ?? 'key';
    const order = request.sortOrder ?? 'none';
    this.descending = order === 'descend';
    this.filtered =
      isSet(request.minModRevision) ||
      isSet(request.maxModRevision) ||
      isSet(request.minCreateRevision) ||
      isSet(request.maxCreateRevision);
    const inKeyOrder = this.target === 'key' && !this.descending;
    const early = this.limit > 0 && (inKeyOrder || (order === 'none' && !this.filtered));
    this.keepFirst = early ? this.limit + 1 : Number.POSITIVE_INFINITY;
    const lastOnly = this.limit > 0 && this.target === 'key' && this.descending;
    this.keepLast = lastOnly ? this.limit + 1 : Number.POSITIVE_INFINITY;
  }

  get sortsByValue(): boolean {
    return this.target === 'value' && this.request.countOnly !== true;
  }

  get more(): boolean {
    return this.request.countOnly !== true && this.limit > 0 && this.matched > this.limit;
  }

  add(found: readonly Found[]): void {
    this.count += found.length;
    if (this.request.countOnly === true) return;
    for (const entry of found) {
      if (this.filtered && !this.passes(entry)) continue;
      this.matched += 1;
      if (this.kept.length < this.keepFirst) this.kept.push(entry);
    }
    // Only the last keys of a long descending range are returned: do not hold the others.
    if (this.kept.length > 2 * this.keepLast) this.kept = this.kept.slice(-this.keepLast);
  }

  sorted(): readonly Found[] {
    const { target, kept } = this;
    if (target === 'key') return this.descending ? kept.toReversed() : kept;
    // By value only once the values are read; until then in key order, which decides between equal values.
    if (target === 'value') return kept;
    const sign = this.descending ? -1 : 1;
    return kept.toSorted((a, b) => sign * (numberOf(a, target) - numberOf(b, target)));
  }

  /** Sorts by the values given in the order of `sorted()`. */
  sortedBy(entries: readonly Found[], values: readonly Uint8Array[]): readonly Found[] {
    const sign = this.descending ? -1 : 1;
    const order = entries.map((_, index) => index);
    order.sort((a, b) => sign * compareBytes(values[a] as Uint8Array, values[b] as Uint8Array));
    return order.map((index) => entries[index] as Found);
  }

  cut(entries: readonly Found[]): readonly Found[] {
    return this.limit > 0 && entries.length > this.limit ? entries.slice(0, this.limit) : entries;
  }

  private passes({ head }: Found): boolean {
    const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = this.request;
    return (
      within(head.modMain, minModRevision, maxModRevision) &&
      within(head.create, minCreateRevision, maxCreateRevision)
    );
  }
}

function isSet(bound: number | undefined): boolean {
  return bound !== undefined && bound !== 0;
}

function within(value: number, min: number | undefined, max: number | undefined): boolean {
  const belowMin = min !== undefined && min !== 0 && value < min;
  const aboveMax = max !== undefined && max !== 0 && value > max;
  return !belowMin && !aboveMax;
}

function numberOf(entry: Found, target: 'version' | 'create' | 'mod'): number {
  switch (target) {
    case 'version':
      return entry.head.version;
    case 'create':
      return entry.head.create;
    default:
      return entry.head.modMain;
  }
}

function* sortedByValue(snapshot: Snapshot, selection: Selection): Reading<readonly Found[]> {
  const entries = yield* withRows(snapshot, selection.sorted());
  const values = entries.map(({ row }) => (row === undefined ? new Uint8Array(0) : rowValue(row)));
  return selection.cut(selection.sortedBy(entries, values));
}

function* withRows(snapshot: Snapshot, entries: readonly Found[]): Reading<readonly Found[]> {
  const bare = entries.filter(({ row }) => row === undefined);
  const pointers = bare.map(({ head }) => ({ main: head.modMain, sub: head.modSub }));
  const rows = yield* fetchRows(snapshot, pointers);
  let next = 0;
  return entries.map((entry) => {
    if (entry.row !== undefined) return entry;
    const row = rows[next];
    next += 1;
    const gone = row === undefined && entry.head.modMain <= snapshot.compactRevision();
    assert(row !== undefined || gone, `revision row ${entry.head.modMain} is missing`);
    return { ...entry, row };
  });
}

/**
 * Rows that a compaction removed meanwhile are left out: the caller sees by the compact revision that the reading is void.
 */
const ROWS_PER_PIECE = 1024;

function* boundedKeyValues(
  snapshot: Snapshot,
  entries: readonly Found[],
  keysOnly: boolean,
  bytesMax: number,
): Reading<Result<readonly KeyValue[], KvError>> {
  const kvs: KeyValue[] = [];
  let bytes = 0;
  for (let from = 0; from < entries.length; from += ROWS_PER_PIECE) {
    const piece = entries.slice(from, from + ROWS_PER_PIECE);
    for (const kv of yield* toKeyValues(snapshot, piece, keysOnly)) {
      bytes += kv.key.length + kv.value.length;
      kvs.push(kv);
    }
    if (bytes > bytesMax) return err(tooMuch(bytesMax));
  }
  return ok(kvs);
}

function tooMuch(limit: number): KvError {
  return new KvError('KV_REQUEST_TOO_LARGE', 'the answer to this range exceeds its limit', {
    details: { limit, hint: 'ask page by page with `limit` (the SDK: scan), or for keys only' },
  });
}

export function* toKeyValues(
  snapshot: Snapshot,
  entries: readonly Found[],
  keysOnly: boolean,
): Reading<readonly KeyValue[]> {
  if (keysOnly) return entries.map(headKeyValue);
  const kvs: KeyValue[] = [];
  for (const { row } of yield* withRows(snapshot, entries)) {
    if (row !== undefined) kvs.push(rowKeyValue(row));
  }
  return kvs;
}

function headKeyValue({ key, head }: Found): KeyValue {
  return {
    key,
    value: new Uint8Array(0),
    createRevision: head.create as Revision,
    modRevision: head.modMain as Revision,
    version: head.version,
    lease: head.lease,
  };
}
