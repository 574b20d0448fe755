import { copyBytes, err, KvError, ok, type Result } from '@kvorum/base';
import { ByteReader, ByteWriter, byteText } from './binary.ts';
import { getMany, type Reading, type StoredRow, scanChunk } from './reading.ts';
import {
  COMPACTION_KEY,
  decodeHead,
  headKey,
  revisionKey,
  rowIsTombstone,
  rowKey,
  rowMain,
  rowPrevMain,
  rowPrevStoreKey,
  rowSub,
} from './row-codec.ts';
import { type SlotTable, spansHold } from './slot-ownership.ts';

const PROGRESS_FORMAT = 1;

/**
 * How far the background removal has come: everything below `doneThrough` is finished for the compaction at that
 * revision; rows of [doneThrough, `at`) are finished for the one at `target`. Stored under `c`, local to a replica.
 */
export interface CompactionCursor {
  readonly doneThrough: number;
  readonly target: number;
  readonly atMain: number;
  readonly atSub: number;
}

export interface CompactionChunk {
  /** Store keys to delete, in one batch with `progress`. */
  readonly deletes: readonly Uint8Array[];
  /** About what the deleted rows take in the store. */
  readonly freedBytes: number;
  readonly progress: { readonly key: Uint8Array; readonly value: Uint8Array } | undefined;
  /** Where to go on; undefined = nothing is left to remove. */
  readonly cursor: CompactionCursor | undefined;
}

export function encodeCompactionCursor(cursor: CompactionCursor): Uint8Array {
  const out = new ByteWriter(32);
  out.u8(PROGRESS_FORMAT);
  out.u64(cursor.doneThrough);
  out.u64(cursor.target);
  out.u64(cursor.atMain);
  out.u32(cursor.atSub);
  return out.view();
}

export function decodeCompactionCursor(bytes: Uint8Array): Result<CompactionCursor, KvError> {
  const input = new ByteReader(bytes);
  const format = input.u8();
  const cursor = {
    doneThrough: input.u64(),
    target: input.u64(),
    atMain: input.u64(),
    atSub: input.u32(),
  };
  if (format === PROGRESS_FORMAT && input.finished()) return ok(cursor);
  return err(new KvError('KV_CORRUPT', 'unreadable compaction progress'));
}

/** What a step needs to know of the state that moves on while it reads. */
export interface CompactionView {
  readonly compactRevision: number;
  readonly slots: SlotTable | undefined;
  /** Keys (byteText) changed since the step began: their heads must not be removed. */
  readonly touched: ReadonlySet<string>;
}

/**
 * Finds the next bounded piece of superseded rows.
 *
 * A row X at or below the target supersedes its predecessor, wherever that lies; a tombstone below the target supersedes
 * itself. So only the rows of (last compaction, target] are visited: the cost follows the history, not the key space.
 * Rows at exactly the target stay, for watchers that start there, and the next compaction begins with them.
 */
export function* compactionChunk(
  view: CompactionView,
  cursor: CompactionCursor | undefined,
): Reading<CompactionChunk> {
  const start = nextTarget(cursor ?? (yield* loadCursor()), view);
  if (start === undefined)
    return { deletes: [], freedBytes: 0, progress: undefined, cursor: undefined };
  const { target } = start;
  const rows = yield* scanChunk(revisionKey(start.atMain, start.atSub), revisionKey(target + 1, 0));
  const last = rows.at(-1);
  const { deletes, freedBytes } = yield* superseded(view, rows, target);
  const next: CompactionCursor =
    last === undefined
      ? { doneThrough: target, target, atMain: target, atSub: 0 }
      : { ...start, atMain: rowMain(last[1]), atSub: rowSub(last[1]) + 1 };
  const progress = { key: COMPACTION_KEY, value: encodeCompactionCursor(next) };
  const finished = nextTarget(next, view) === undefined;
  return { deletes, freedBytes, progress, cursor: finished ? undefined : next };
}

function* loadCursor(): Reading<CompactionCursor> {
  const [value] = yield* getMany([COMPACTION_KEY]);
  const fresh = { doneThrough: 0, target: 0, atMain: 0, atSub: 0 };
  if (value === undefined) return fresh;
  const decoded = decodeCompactionCursor(value);
  // Damaged progress only costs a second visit of the whole history.
  return decoded.ok ? decoded.value : fresh;
}

/** A started compaction is finished before a later one begins where it ended. */
function nextTarget(
  cursor: CompactionCursor,
  { compactRevision, slots }: CompactionView,
): CompactionCursor | undefined {
  if (cursor.doneThrough < cursor.target) return cursor;
  if (compactRevision <= cursor.doneThrough) return undefined;
  const { doneThrough } = cursor;
  // History that was imported after the last compaction lies below it too: it is visited once.
  const unvisited = slots?.ownership.imports.some(
    ({ state, compactedBefore }) =>
      state === 'adopted' && doneThrough <= compactedBefore && compactedBefore < compactRevision,
  );
  const atMain = unvisited === true ? 0 : doneThrough;
  return { doneThrough, target: compactRevision, atMain, atSub: 0 };
}

/** Imported rows that the compaction at `target` is not about: it was asked for before the slots came. */
function isExempt(slots: SlotTable | undefined, row: Uint8Array, target: number): boolean {
  const exempting = slots?.ownership.imports.filter(
    ({ state, sealed, compactedBefore }) =>
      state !== 'adopted' || (target <= compactedBefore && rowMain(row) <= sealed),
  );
  if (slots === undefined || exempting === undefined || exempting.length === 0) return false;
  const slot = slots.space.ofKey(rowKey(row));
  return exempting.some((one) => spansHold(one.slots, slot));
}

function* superseded(
  view: CompactionView,
  rows: readonly StoredRow[],
  target: number,
): Reading<Pick<CompactionChunk, 'deletes' | 'freedBytes'>> {
  const deletes: Uint8Array[] = [];
  let freedBytes = 0;
  const tombstones: Uint8Array[] = [];
  const ours = rows.filter(([, row]) => !isExempt(view.slots, row, target));
  for (const [storeKey, row] of ours) {
    const prevMain = rowPrevMain(row);
    if (prevMain > 0 && prevMain < target) {
      deletes.push(copyBytes(rowPrevStoreKey(row)));
      // The predecessor is not read: one key's values are mostly of a size.
      freedBytes += row.length;
    }
    if (!rowIsTombstone(row) || rowMain(row) >= target) continue;
    deletes.push(storeKey);
    freedBytes += row.length;
    tombstones.push(row);
  }
  for (const row of yield* newestRows(tombstones)) {
    if (!view.touched.has(byteText(rowKey(row)))) deletes.push(headKey(rowKey(row)));
  }
  return { deletes, freedBytes };
}

/** Those of the rows that the heads of their keys point to. */
export function* newestRows(rows: readonly Uint8Array[]): Reading<readonly Uint8Array[]> {
  const heads = yield* getMany(rows.map((row) => headKey(rowKey(row))));
  return rows.filter((row, i) => {
    const value = heads[i];
    if (value === undefined) return false;
    const head = decodeHead(value);
    return head.modMain === rowMain(row) && head.modSub === rowSub(row);
  });
}
