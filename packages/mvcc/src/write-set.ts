import {
  assert,
  EMPTY_BYTES,
  err,
  type KeyValue,
  KvError,
  NO_LEASE,
  ok,
  type Result,
  type Revision,
  type WatchEvent,
} from '@kvorum/base';
import { ByteReader, ByteWriter, readU32, writeU32, writeU64 } from './binary.ts';
import {
  isRow,
  isSessionKey,
  type RowFields,
  rowHeadBytes,
  rowHeadStoreKey,
  rowIsTombstone,
  rowKey,
  rowKeyValue,
  rowMain,
  rowPrefixes,
  rowStoreKey,
  rowSub,
  STATE_PREFIXES,
  writeRow,
} from './row-codec.ts';
import { OWNERSHIP_KEY } from './slot-ownership.ts';

/**
 * The payload of one log record: the effects of one batch, as bytes that every replica applies by slicing.
 *
 * ```
 *  0 u8  version              1 u8  flags: 2 = origins, 4 = restored rows
 *  2 u64 leader time ms      10 u64 base revision      18 u32 revision count
 * 22 u64 compact revision + 1, 0 = unchanged
 * 30 u32 change count        34 u32 bytes of the changes
 * 38 u32 session updates     42 u32 lease updates
 * 46 changes: u32 length, revision row (row-codec.ts)
 *    sessions, leases: blob store key, u8 kind (1 put, 2 delete), put: blob value
 *    origins: blob (origins.ts)
 *    slots: blob ownership row, u32 count of imported rows (blobs), u32 count of deleted store keys (blobs)
 * ```
 * A payload has the lowest version that knows all its parts, so that a member of the version before reads what it can and names
 * what it cannot: 4 with restored rows, 3 for a step of a slot move, which has nothing else, 2 with origins, else 1.
 */
export const WRITE_SET_VERSION = 4;
const VERSION_PLAIN = 1;
const VERSION_ORIGINS = 2;
const VERSION_SLOTS = 3;
const VERSION_RESTORED = 4;
const HEADER_BYTES = 46;
const FLAG_ORIGINS = 2;
const FLAG_RESTORED = 4;
const FLAGS_OF: Readonly<Record<number, number>> = {
  [VERSION_PLAIN]: 0,
  [VERSION_ORIGINS]: FLAG_ORIGINS,
  [VERSION_SLOTS]: 0,
  [VERSION_RESTORED]: FLAG_RESTORED,
};
const KIND_PUT = 1;
const KIND_DELETE = 2;

/** A row outside the key space: a session, a lease or an attachment. `value` undefined = delete. */
export interface StateChange {
  readonly storeKey: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** What a step of a slot move changes beside the ordinary effects. */
export interface SlotChanges {
  /** The new row of slot ownership. */
  readonly ownership: Uint8Array;
  /** Revision rows from another shard: history, and no news for watchers. */
  readonly rows: readonly Uint8Array[];
  /** Store keys of heads and revision rows that are gone. */
  readonly deletes: readonly Uint8Array[];
}

export interface WriteSet {
  readonly leaderTimeMs: number;
  /** Revision of the state that the batch was executed on. */
  readonly baseRevision: number;
  readonly revisionCount: number;
  /** New compact revision, when the batch changes it. */
  readonly compactRevision: number | undefined;
  readonly changeCount: number;
  readonly sessions: readonly StateChange[];
  readonly leases: readonly StateChange[];
  /** Who asked for what, for {@link decodeOrigins}: of no effect on the state. */
  readonly origins: Uint8Array | undefined;
  /** The rows come from a backup: of any revision, and no news for watchers. */
  readonly isRestored: boolean;
  readonly slots: SlotChanges | undefined;
  /** The encoded form; the changes lie in [changesAt, changesEnd). */
  readonly bytes: Uint8Array;
  readonly changesAt: number;
  readonly changesEnd: number;
}

/** Where applied rows go: the store batch of the shell. The arrays are views of the payload. */
export interface StoreSink {
  put(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): void;
}

/** Everything of a write set but its changes. */
export interface WriteSetFrame {
  readonly leaderTimeMs: number;
  readonly baseRevision: number;
  readonly revisionCount: number;
  readonly compactRevision?: number;
  readonly sessions?: readonly StateChange[];
  readonly leases?: readonly StateChange[];
  readonly origins?: Uint8Array | undefined;
  readonly isRestored?: boolean;
  readonly slots?: SlotChanges;
}

/** Builds a payload in one buffer: rows first, as the batch executes, then the rest. */
export class WriteSetBuilder {
  readonly out: ByteWriter;
  changeCount = 0;
  /** Where the rows of a main revision start, for the rows below `indexedTo`; built when first asked for. */
  private readonly index = new Map<number, number[]>();
  private indexedTo = HEADER_BYTES;

  constructor(capacity: number) {
    this.out = new ByteWriter(HEADER_BYTES + capacity);
    this.out.reserve(HEADER_BYTES);
  }

  get length(): number {
    return this.out.length;
  }

  /** Appends a change; returns where its row starts in the buffer. */
  add(row: RowFields): number {
    this.changeCount += 1;
    return writeRow(this.out, row);
  }

  /** Drops the changes made since the buffer had this length and count. */
  rollback(length: number, changeCount: number): void {
    this.out.truncate(length);
    this.changeCount = changeCount;
    if (length >= this.indexedTo) return;
    this.index.clear();
    this.indexedTo = HEADER_BYTES;
  }

  /** The row of this batch with a revision; undefined when the batch has none. */
  findRow(main: number, sub: number): Uint8Array | undefined {
    this.indexRows();
    const start = this.index.get(main)?.[sub];
    if (start === undefined) return undefined;
    return this.out.bytes.subarray(start, start + readU32(this.out.bytes, start - 4));
  }

  private indexRows(): void {
    const { bytes, length } = this.out;
    while (this.indexedTo < length) {
      const start = this.indexedTo + 4;
      const row = bytes.subarray(start, start + readU32(bytes, this.indexedTo));
      const starts = this.index.get(rowMain(row)) ?? [];
      starts[rowSub(row)] = start;
      this.index.set(rowMain(row), starts);
      this.indexedTo = start + row.length;
    }
  }

  finish(frame: WriteSetFrame): Uint8Array {
    const { out } = this;
    const changesBytes = out.length - HEADER_BYTES;
    const sessions = frame.sessions ?? [];
    const leases = frame.leases ?? [];
    writeStateChanges(out, sessions);
    writeStateChanges(out, leases);
    if (frame.origins !== undefined) out.blob(frame.origins);
    if (frame.slots !== undefined) writeSlotChanges(out, frame.slots);
    const { bytes } = out;
    const version = versionOf(frame);
    bytes[0] = version;
    bytes[1] = FLAGS_OF[version] ?? 0;
    writeU64(bytes, 2, frame.leaderTimeMs);
    writeU64(bytes, 10, frame.baseRevision);
    writeU32(bytes, 18, frame.revisionCount);
    writeU64(bytes, 22, frame.compactRevision === undefined ? 0 : frame.compactRevision + 1);
    writeU32(bytes, 30, this.changeCount);
    writeU32(bytes, 34, changesBytes);
    writeU32(bytes, 38, sessions.length);
    writeU32(bytes, 42, leases.length);
    return out.view();
  }
}

function versionOf(frame: WriteSetFrame): number {
  const { origins, isRestored, slots } = frame;
  const parts = [origins !== undefined, isRestored === true, slots !== undefined];
  assert(parts.filter(Boolean).length <= 1, 'origins, restored rows and steps of moves go alone');
  if (slots !== undefined) return VERSION_SLOTS;
  if (isRestored === true) return VERSION_RESTORED;
  return origins === undefined ? VERSION_PLAIN : VERSION_ORIGINS;
}

/** Encodes a write set from plain rows; the engine uses the builder directly. */
export function encodeWriteSet(rows: readonly RowFields[], frame: WriteSetFrame): Uint8Array {
  const builder = new WriteSetBuilder(1024);
  for (const row of rows) builder.add(row);
  return builder.finish(frame);
}

/**
 * Decodes and checks a payload. The result keeps views of `bytes`.
 *
 * Errors: KV_CORRUPT when it is malformed or of an unknown version; a replica halts on it.
 */
export function decodeWriteSet(bytes: Uint8Array): Result<WriteSet, KvError> {
  const input = new ByteReader(bytes);
  const version = input.u8();
  const known = FLAGS_OF[version];
  if (known === undefined) return malformed(`unknown version ${version}`);
  const flags = input.u8();
  const leaderTimeMs = input.u64();
  const baseRevision = input.u64();
  const revisionCount = input.u32();
  const compact = input.u64();
  const changeCount = input.u32();
  const changesBytes = input.u32();
  const sessionCount = input.u32();
  const leaseCount = input.u32();
  input.raw(changesBytes);
  if (input.failed || flags !== known) return malformed('header');
  const isRestored = version === VERSION_RESTORED;
  const changesEnd = HEADER_BYTES + changesBytes;
  const revisions = { baseRevision, revisionCount, changeCount, isRestored };
  if (!rowsAreSound(bytes, changesEnd, revisions)) return malformed('changes');
  const sessions = readStateChanges(input, sessionCount, isSessionKey);
  const leases = readStateChanges(input, leaseCount, isLeaseKey);
  const origins = version === VERSION_ORIGINS ? input.blob() : undefined;
  const slots = version === VERSION_SLOTS ? readSlotChanges(input) : undefined;
  if (sessions === undefined || leases === undefined || !input.finished()) return malformed('rows');
  if (slots !== undefined && !areSound(slots)) return malformed('slots');
  return ok({
    leaderTimeMs,
    baseRevision,
    revisionCount,
    compactRevision: compact === 0 ? undefined : compact - 1,
    changeCount,
    sessions,
    leases,
    origins,
    isRestored,
    slots,
    bytes,
    changesAt: HEADER_BYTES,
    changesEnd,
  });
}

/** The revision rows of a write set in the order they were made, as views. */
export function writeSetRows(writeSet: WriteSet): Generator<Uint8Array, void, undefined> {
  return rowsBetween(writeSet.bytes, writeSet.changesAt, writeSet.changesEnd);
}

/** Writes the heads, revision rows, sessions and leases of a write set. */
export function applyWriteSet(writeSet: WriteSet, sink: StoreSink): void {
  const { bytes, changesEnd } = writeSet;
  let at = writeSet.changesAt;
  while (at < changesEnd) {
    const end = at + 4 + readU32(bytes, at);
    const row = bytes.subarray(at + 4, end);
    sink.put(rowHeadStoreKey(row), rowHeadBytes(row));
    sink.put(rowStoreKey(row), row);
    at = end;
  }
  for (const change of writeSet.sessions) applyStateChange(change, sink);
  for (const change of writeSet.leases) applyStateChange(change, sink);
  if (writeSet.slots !== undefined) applySlotChanges(writeSet.slots, sink);
}

function applySlotChanges({ ownership, rows, deletes }: SlotChanges, sink: StoreSink): void {
  for (const row of rows) {
    sink.put(rowHeadStoreKey(row), rowHeadBytes(row));
    sink.put(rowStoreKey(row), row);
  }
  for (const storeKey of deletes) sink.delete(storeKey);
  sink.put(OWNERSHIP_KEY, ownership);
}

/** The watch events of a write set in revision order, without previous values. */
export function* writeSetEvents(writeSet: WriteSet): Generator<WatchEvent, void, undefined> {
  if (writeSet.isRestored) return;
  for (const row of writeSetRows(writeSet)) yield rowEvent(row);
}

/** The watch event of a revision row. */
export function rowEvent(row: Uint8Array): WatchEvent {
  if (!rowIsTombstone(row)) return { type: 'put', kv: rowKeyValue(row) };
  const kv: KeyValue = {
    key: rowKey(row),
    value: EMPTY_BYTES,
    createRevision: 0 as Revision,
    modRevision: rowMain(row) as Revision,
    version: 0,
    lease: NO_LEASE,
  };
  return { type: 'delete', kv };
}

function* rowsBetween(
  bytes: Uint8Array,
  from: number,
  to: number,
): Generator<Uint8Array, void, undefined> {
  let at = from;
  while (at < to) {
    const end = at + 4 + readU32(bytes, at);
    yield bytes.subarray(at + 4, end);
    at = end;
  }
}

interface ExpectedRows {
  readonly baseRevision: number;
  readonly revisionCount: number;
  readonly changeCount: number;
  readonly isRestored: boolean;
}

function rowsAreSound(bytes: Uint8Array, changesEnd: number, expected: ExpectedRows): boolean {
  const { baseRevision, revisionCount, changeCount, isRestored } = expected;
  const newest = baseRevision + revisionCount;
  if (!Number.isSafeInteger(newest)) return false;
  let at = HEADER_BYTES;
  let count = 0;
  let last: RowPlace = { main: isRestored ? 0 : baseRevision, sub: 0xffff_ffff };
  while (at < changesEnd) {
    const end = at + 4 + (at + 4 <= changesEnd ? readU32(bytes, at) : changesEnd);
    if (end > changesEnd) return false;
    const row = bytes.subarray(at + 4, end);
    if (!isRow(row)) return false;
    const next = { main: rowMain(row), sub: rowSub(row) };
    if (!follows(last, next, isRestored)) return false;
    last = next;
    count += 1;
    at = end;
  }
  return count === changeCount && last.main <= (isRestored ? Number.MAX_SAFE_INTEGER : newest);
}

interface RowPlace {
  readonly main: number;
  readonly sub: number;
}

/** The first row of a revision has sub 0; only a restore's record may begin in the middle of one. */
function follows(last: RowPlace, next: RowPlace, isRestored: boolean): boolean {
  if (next.main === last.main) return next.sub === last.sub + 1;
  return next.main > last.main && (next.sub === 0 || isRestored);
}

/** A lease or an attachment; a damaged key must not reach any other row. */
function isLeaseKey(storeKey: Uint8Array): boolean {
  return storeKey[0] === STATE_PREFIXES.lease || storeKey[0] === STATE_PREFIXES.attachment;
}

function writeStateChanges(out: ByteWriter, changes: readonly StateChange[]): void {
  for (const { storeKey, value } of changes) {
    assert(storeKey.length > 0, 'a state change needs a store key');
    out.blob(storeKey);
    out.u8(value === undefined ? KIND_DELETE : KIND_PUT);
    if (value !== undefined) out.blob(value);
  }
}

function readStateChanges(
  input: ByteReader,
  count: number,
  isKey: (storeKey: Uint8Array) => boolean,
): StateChange[] | undefined {
  const changes: StateChange[] = [];
  for (let i = 0; i < count && !input.failed; i += 1) {
    const storeKey = input.blob();
    const kind = input.u8();
    if (!isKey(storeKey) || (kind !== KIND_PUT && kind !== KIND_DELETE)) return undefined;
    changes.push({ storeKey, value: kind === KIND_PUT ? input.blob() : undefined });
  }
  return input.failed ? undefined : changes;
}

function applyStateChange(change: StateChange, sink: StoreSink): void {
  if (change.value === undefined) sink.delete(change.storeKey);
  else sink.put(change.storeKey, change.value);
}

function writeSlotChanges(out: ByteWriter, { ownership, rows, deletes }: SlotChanges): void {
  out.blob(ownership);
  for (const list of [rows, deletes]) {
    out.u32(list.length);
    for (const bytes of list) out.blob(bytes);
  }
}

function readSlotChanges(input: ByteReader): SlotChanges {
  const ownership = input.blob();
  const lists: Uint8Array[][] = [[], []];
  for (const list of lists) {
    const count = input.u32();
    for (let i = 0; i < count && !input.failed; i += 1) list.push(input.blob());
  }
  return { ownership, rows: lists[0] ?? [], deletes: lists[1] ?? [] };
}

/** Damaged bytes must not reach any row but heads and revisions. */
function areSound({ rows, deletes }: SlotChanges): boolean {
  const prefixes: readonly number[] = [rowPrefixes.head, rowPrefixes.revision];
  return rows.every(isRow) && deletes.every((storeKey) => prefixes.includes(storeKey[0] ?? -1));
}

function malformed(what: string): Result<WriteSet, KvError> {
  return err(new KvError('KV_CORRUPT', `malformed write set: ${what}`));
}
