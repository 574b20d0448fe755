import { assert, copyBytes, EMPTY_BYTES, KvError, type LeaseId, NO_LEASE } from '@kvorum/base';
import { byteText, writeU32, writeU64 } from './binary.ts';
import {
  attachmentKey,
  decodeLeaseMark,
  encodeLeaseMark,
  LEASE_MARK_KEY,
  type LeaseMark,
  NO_LEASE_MARK,
} from './lease-codec.ts';
import { getMany, type Reading, scanChunk } from './reading.ts';
import {
  decodeHead,
  headKey,
  isRow,
  ROW_PREV_AT,
  ROW_SUB_AT,
  revisionKey,
  revisionKeyMain,
  revisionKeySub,
  rowKey,
  rowLease,
  rowMain,
  rowPrevMain,
  rowStoreKey,
  rowSub,
} from './row-codec.ts';
import {
  type ImportRows,
  nextOwnership,
  type OwnershipView,
  type SlotCommand,
} from './slot-command.ts';
import {
  type SlotDrop,
  type SlotImport,
  type SlotOwnership,
  type SlotSpace,
  type SlotSpan,
  spansHold,
} from './slot-ownership.ts';
import { rowsAt } from './visible.ts';
import { wholeRevisions } from './whole-revisions.ts';
import type { StateChange } from './write-set.ts';

/** Sub-revisions that one import has for itself in each revision: more than a record has changes. */
const BAND_WIDTH = 2 ** 18;
const BANDS_MAX = 2 ** 14;
const REVISIONS_RAISED_MAX = 2 ** 32 - 1;
/** A change of an attachment beside its key. */
const ATTACHMENT_BYTES = 24;
/** Scans that one piece is gathered from: a copy has to be faster than the writers of a source, in a log that takes its time. */
const PIECE_SCANS = 4;

/** What a step of a move does to a shard. */
export interface SlotEffects {
  /** Undefined = there is still no row. */
  readonly ownership: SlotOwnership | undefined;
  /** Revision rows as they are to lie in this shard's store, oldest first. */
  readonly rows: readonly Uint8Array[];
  readonly deletes: readonly Uint8Array[];
  /** Attachments that come or go with the rows, and what the shard hears of the leases' home. */
  readonly leases: readonly StateChange[];
  /** By how much the revision rises. */
  readonly revisionCount: number;
}

/** A piece of a source's history. */
export interface SlotExport {
  readonly rows: readonly Uint8Array[];
  /** Everything below it is in this piece or in an earlier one. */
  readonly next: number;
  /** Of the source, after its rows were read. */
  readonly revision: number;
  /** Highest term of the leases' home that the source has heard of. */
  readonly leaseTerm: number;
  readonly compactRevision: number;
}

/** Decides a step on the applied state. Errors: KV_INVALID_ARGUMENT when the state is not one that the step may follow. */
export function* executeSlots(
  view: OwnershipView,
  command: SlotCommand,
  space: SlotSpace,
): Reading<SlotEffects | KvError> {
  const none = { rows: [], deletes: [], leases: [], revisionCount: 0 };
  if (command.action === 'drop') return yield* dropPiece(view, command.move, space);
  const ownership = nextOwnership(view, command);
  if (ownership instanceof KvError) return ownership;
  if (command.action !== 'import-rows') return { ownership, ...none };
  const raise = Math.max(0, (command.seal?.sealed ?? 0) - view.revision);
  if (raise > REVISIONS_RAISED_MAX) {
    return new KvError('KV_INVALID_ARGUMENT', `the revision cannot rise by ${raise} at once`);
  }
  const found = view.ownership?.imports.find((one) => one.move === command.move);
  assert(found !== undefined, 'rows were taken for an import that is known');
  const imported = yield* importedRows(found, command, space);
  if (imported instanceof KvError) return imported;
  const term = command.leaseTerm ?? 0;
  const mark = yield* storedLeaseMark();
  const raised =
    term > mark.term
      ? [{ storeKey: LEASE_MARK_KEY, value: encodeLeaseMark({ term, floor: 0 }) }]
      : [];
  const leases = [...imported.leases, ...raised];
  return { ownership, ...none, rows: imported.rows, leases, revisionCount: raise };
}

function* storedLeaseMark(): Reading<LeaseMark> {
  const [row] = yield* getMany([LEASE_MARK_KEY]);
  if (row === undefined) return NO_LEASE_MARK;
  const mark = decodeLeaseMark(row);
  if (!mark.ok) throw mark.error;
  return mark.value;
}

interface Imported {
  readonly rows: readonly Uint8Array[];
  readonly leases: readonly StateChange[];
}

/**
 * Rows keep their revision, so that mod revisions and history stay; their sub-revisions move into the import's band, where no
 * other timeline's rows stand, and each points to the row of its key that came before it.
 */
function* importedRows(
  found: SlotImport,
  command: ImportRows,
  space: SlotSpace,
): Reading<Imported | KvError> {
  assert(found.band < BANDS_MAX, 'an import has a band');
  const { from } = command;
  const { part } = found;
  const isOfMove = (row: Uint8Array): boolean => spansHold(found.slots, space.ofKey(rowKey(row)));
  if (!command.rows.every((row) => isRow(row) && isInPiece(row, command, part) && isOfMove(row))) {
    return new KvError('KV_MALFORMED', 'a row that is not of the moving slots');
  }
  const keys = new Map(command.rows.map((row) => [byteText(rowKey(row)), rowKey(row)]));
  const texts = [...keys.keys()];
  const heads = yield* getMany([...keys.values()].map(headKey));
  const newest = new Map<string, readonly [main: number, sub: number]>();
  const leases = new LeaseMoves();
  for (const [i, value] of heads.entries()) {
    if (value === undefined) continue;
    const { modMain, modSub, lease } = decodeHead(value);
    newest.set(texts[i] as string, [modMain, modSub]);
    leases.before.set(texts[i] as string, lease);
  }
  const rows: Uint8Array[] = [];
  let main = part === undefined ? -1 : from;
  let index = part === undefined ? 0 : part.rows - 1;
  for (const source of command.rows) {
    index = rowMain(source) === main ? index + 1 : 0;
    assert(rowMain(source) >= main && index < BAND_WIDTH, 'rows come in the order of revisions');
    main = rowMain(source);
    const row = copyBytes(source);
    const text = byteText(rowKey(row));
    const [prevMain, prevSub] = newest.get(text) ?? [0, 0];
    const sub = found.band * BAND_WIDTH + index;
    writeU32(row, ROW_SUB_AT, sub);
    writeU64(row, ROW_PREV_AT, prevMain);
    writeU32(row, ROW_PREV_AT + 8, prevSub);
    newest.set(text, [main, sub]);
    leases.after.set(text, row);
    rows.push(row);
  }
  return { rows, leases: leases.changes() };
}

/** Which lease keys hung on before some rows of theirs were taken, and which they hang on now. */
class LeaseMoves {
  readonly before = new Map<string, LeaseId>();
  /** The newest row of each key. */
  readonly after = new Map<string, Uint8Array>();

  changes(): readonly StateChange[] {
    const changes: StateChange[] = [];
    for (const [text, row] of this.after) {
      const [from, to, key] = [this.before.get(text) ?? NO_LEASE, rowLease(row), rowKey(row)];
      if (from === to) continue;
      if (from !== NO_LEASE) changes.push({ storeKey: attachmentKey(from, key), value: undefined });
      if (to !== NO_LEASE) changes.push({ storeKey: attachmentKey(to, key), value: EMPTY_BYTES });
    }
    return changes;
  }
}

/** What a row that is copied takes of a record, with the attachments that may come and go with it. */
function copiedBytes(row: Uint8Array): number {
  const attachment = ATTACHMENT_BYTES + rowKey(row).length;
  const wasThere = rowPrevMain(row) > 0;
  return row.length + (rowLease(row) === NO_LEASE ? 0 : attachment) + (wasThere ? attachment : 0);
}

function isInPiece(
  row: Uint8Array,
  { from, to, toSub = 0 }: ImportRows,
  part: SlotImport['part'],
): boolean {
  return isBefore(row, to, toSub) && !isBefore(row, from, part?.sub ?? 0);
}

/** Whether a row stands before a place in the source's history. */
function isBefore(row: Uint8Array, main: number, sub: number): boolean {
  return rowMain(row) < main || (rowMain(row) === main && rowSub(row) < sub);
}

/** A part of a piece that goes into one record: its rows, and the place behind them. */
export type PiecePart = Pick<ImportRows, 'rows' | 'to' | 'toSub'>;

/**
 * Cuts a piece into parts of at most `bytesMax` each, or of one row: a revision that fills a record as it is finds no room beside what
 * else is in one.
 *
 * @param part - what of the piece's first revision is copied already.
 */
export function partsOfPiece(
  piece: Pick<SlotExport, 'rows' | 'next'>,
  bytesMax: number,
  place: Pick<SlotImport, 'next' | 'part'>,
): readonly PiecePart[] {
  const { next: from, part } = place;
  const left =
    part === undefined ? piece.rows : piece.rows.filter((row) => !isBefore(row, from, part.sub));
  const parts: PiecePart[] = [];
  let rows: Uint8Array[] = [];
  let bytes = 0;
  for (const row of left) {
    const last = rows.at(-1);
    if (last !== undefined && bytes + copiedBytes(row) > bytesMax) {
      const to = rowMain(row);
      parts.push(rowMain(last) === to ? { rows, to, toSub: rowSub(row) } : { rows, to });
      rows = [];
      bytes = 0;
    }
    rows.push(row);
    bytes += copiedBytes(row);
  }
  return [...parts, { rows, to: piece.next }];
}

function* dropPiece(
  view: OwnershipView,
  move: string,
  space: SlotSpace,
): Reading<SlotEffects | KvError> {
  const { ownership } = view;
  const found = ownership?.drops.find((one) => one.move === move);
  if (ownership === undefined || found === undefined) {
    return new KvError('KV_INVALID_ARGUMENT', `nothing is left to drop of move ${move}`);
  }
  const end = revisionKey(found.through + 1, 0);
  const rows = yield* scanChunk(revisionKey(found.main, found.sub), end);
  const deletes: Uint8Array[] = [];
  const leases: StateChange[] = [];
  for (const [storeKey, row] of rows) {
    const [key, lease] = [rowKey(row), rowLease(row)];
    if (!spansHold(found.slots, space.ofKey(key))) continue;
    deletes.push(storeKey, headKey(key));
    // The newest row of the key is among them sooner or later.
    if (lease !== NO_LEASE) leases.push({ storeKey: attachmentKey(lease, key), value: undefined });
  }
  const last = rows.at(-1)?.[0];
  const rest: SlotDrop[] =
    last === undefined
      ? []
      : [{ ...found, main: revisionKeyMain(last), sub: revisionKeySub(last) + 1 }];
  const drops = ownership.drops.flatMap((one) => (one === found ? rest : [one]));
  return { ownership: { ...ownership, drops }, rows: [], deletes, leases, revisionCount: 0 };
}

/** What an export reads; moves on while it runs. */
export interface ExportView {
  readonly revision: number;
  /** First revision from which the history of the slots is whole. */
  readonly compactRevision: number;
  /** Rows may be missing anywhere: slots have left since the view was taken. */
  readonly isOver: boolean;
}

/**
 * The next piece of the history of some slots, oldest first, from revision `from` on. Of what a compaction is about only that is in
 * it which stands at the compact revision: which of the other rows are still on a disk differs between replicas.
 */
export function* exportSlots(
  view: () => ExportView,
  slots: readonly SlotSpan[],
  from: number,
  space: SlotSpace,
): Reading<SlotExport> {
  for (;;) {
    const { revision, compactRevision } = view();
    const { ours, next } = yield* ownRows([from, revision], slots, space);
    const rows = yield* standing(ours, compactRevision, view);
    // Rows that were compacted while this was read may be missing from it.
    if (view().compactRevision !== compactRevision) continue;
    const { term: leaseTerm } = yield* storedLeaseMark();
    return { rows, next, revision, compactRevision, leaseTerm };
  }
}

/** The rows of the slots in some revisions, both included, as far as a few scans come. */
function* ownRows(
  [from, through]: readonly [from: number, through: number],
  slots: readonly SlotSpan[],
  space: SlotSpace,
): Reading<{ readonly ours: readonly Uint8Array[]; readonly next: number }> {
  const ours: Uint8Array[] = [];
  let next = from;
  for (let i = 0; i < PIECE_SCANS && next <= through; i += 1) {
    const all = yield* wholeRevisions(next, through);
    const last = all.at(-1);
    next = last === undefined ? through + 1 : rowMain(last) + 1;
    for (const row of all) if (spansHold(slots, space.ofKey(rowKey(row)))) ours.push(row);
  }
  return { ours, next };
}

/** Without the rows below `floor` that were superseded, or deleted, by then. */
function* standing(
  rows: readonly Uint8Array[],
  floor: number,
  view: () => ExportView,
): Reading<readonly Uint8Array[]> {
  const old = rows.filter((row) => rowMain(row) < floor);
  if (old.length === 0) return rows;
  const keys = [...new Map(old.map((row) => [byteText(rowKey(row)), rowKey(row)])).values()];
  const heads = (yield* getMany(keys.map(headKey))).filter((value) => value !== undefined);
  const pointers = heads.map(decodeHead).map(({ modMain, modSub }) => ({
    main: modMain,
    sub: modSub,
  }));
  const snapshot = {
    compactRevision: () => (view().isOver ? Number.MAX_SAFE_INTEGER : view().compactRevision),
    localRow: () => undefined,
  };
  const stands = new Set<string>();
  for (const row of yield* rowsAt(snapshot, pointers, floor)) {
    if (row !== undefined) stands.add(byteText(rowStoreKey(row)));
  }
  return rows.filter((row) => rowMain(row) >= floor || stands.has(byteText(rowStoreKey(row))));
}
