import { assert, copyBytes, equalBytes, KvError, RANGE_END_OPEN } from '@kvorum/base';
import { writeU32 } from './binary.ts';
import type { StoredRow } from './reading.ts';
import {
  headRange,
  isRow,
  ROW_PREV_AT,
  ROW_SUB_AT,
  rowHeadBytes,
  rowHeadStoreKey,
  rowIsTombstone,
  rowKey,
  rowMain,
  rowStoreKey,
} from './row-codec.ts';
import {
  encodeWriteSet,
  type StoreSink,
  type WriteSet,
  WriteSetBuilder,
  writeSetRows,
} from './write-set.ts';

/** The store range of the newest versions of all keys. */
export const HEADS: { readonly gte: Uint8Array; readonly lt: Uint8Array } = headRange(
  new Uint8Array(0),
  RANGE_END_OPEN,
);

/** So many revisions one record can hand out (a count of 32 bits). */
const REVISION_STEP_MAX = 0xffff_ffff;

const LEASE_AT = 31;
const LEASE_END = 39;
const PREV_END = 52;

/** The key of a revision row, as a view. */
export function userKeyOfRow(row: Uint8Array): Uint8Array {
  return rowKey(row);
}

/**
 * A live revision row of a backup as the new cluster keeps it: same key, value, create and mod revision, version; no predecessor
 * (older history is compacted there) and no lease.
 *
 * @returns its store key and itself.
 * @param sub - unique among the target shard's rows of this revision: several old shards may have used one revision each.
 */
export function restoredRow(row: Uint8Array, sub: number): StoredRow {
  assert(isRow(row) && !rowIsTombstone(row), 'only live rows are restored');
  const out = copyBytes(row);
  writeU32(out, ROW_SUB_AT, sub);
  out.fill(0, LEASE_AT, LEASE_END);
  out.fill(0, ROW_PREV_AT, PREV_END);
  return [rowStoreKey(out), out];
}

/** The rows of a batch up to a revision in its middle, for a restore to that revision: what is not rows is not restored. */
export function applyRowsUpTo(writeSet: WriteSet, revision: number, sink: StoreSink): void {
  for (const row of writeSetRows(writeSet)) {
    if (rowMain(row) > revision) return;
    sink.put(rowHeadStoreKey(row), rowHeadBytes(row));
    sink.put(rowStoreKey(row), row);
  }
}

/**
 * The key of a row of a backup, as a view.
 * Errors: KV_CORRUPT when it is no live revision row, or not the one that its store key says.
 */
export function checkRestoredRow(storeKey: Uint8Array, row: Uint8Array): Uint8Array {
  const isSound = isRow(row) && !rowIsTombstone(row) && equalBytes(rowStoreKey(row), storeKey);
  if (!isSound) throw new KvError('KV_CORRUPT', 'a row of the backup is damaged');
  return rowKey(row);
}

interface RestoreFrame {
  readonly leaderTimeMs: number;
  readonly baseRevision: number;
}

/**
 * The payload that puts rows of a backup into a shard without moving its revision: readers do not see them yet.
 *
 * @param rows - checked revision rows, ascending by (main, sub), subs of one revision dense within the payload.
 */
export function restoreRows(rows: readonly Uint8Array[], frame: RestoreFrame): Uint8Array {
  const builder = new WriteSetBuilder(rows.reduce((sum, row) => sum + row.length + 4, 0));
  for (const row of rows) {
    builder.out.u32(row.length);
    builder.out.raw(row);
    builder.changeCount += 1;
  }
  return builder.finish({ ...frame, revisionCount: 0, isRestored: true });
}

/**
 * The payloads that end a restore: they raise the revision to `revision` and compact there, so that every older one, and every watch
 * of the old cluster that wants to go on, is told that it is compacted. All but the last only raise it.
 */
export function restoreFinish(revision: number, frame: RestoreFrame): Uint8Array {
  const count = Math.min(revision - frame.baseRevision, REVISION_STEP_MAX);
  assert(count >= 0, 'a restore never lowers the revision');
  const last = frame.baseRevision + count === revision;
  return encodeWriteSet([], {
    ...frame,
    revisionCount: count,
    ...(last ? { compactRevision: revision } : {}),
  });
}
