import {
  assert,
  EMPTY_BYTES,
  fromHex,
  isOpenEnd,
  type KeyValue,
  KvError,
  type LeaseId,
  type Revision,
  toHex,
} from '@kvorum/base';
import {
  type ByteWriter,
  readI64,
  readU32,
  readU64,
  writeI64,
  writeU32,
  writeU64,
} from './binary.ts';

/**
 * Rows of a replica's store (DESIGN §5).
 *
 * A revision row begins with the bytes of the key's head, and holds its own store key, its predecessor's and the head's,
 * so that a replica applies a write set by slicing and never encodes:
 *
 * ```
 *  0  u8   row format (1)
 *  1  u8   flags: 1 = tombstone
 *  2  'r' u64 modMain u32 modSub        13 bytes: the store key of this row
 * 15  u64  createRevision               0 in a tombstone
 * 23  u64  version                      0 in a tombstone
 * 31  i64  lease                        0 = none
 * 39  --- end of the head ---
 * 39  'r' u64 prevMain u32 prevSub      13 bytes: the store key of the previous row of the key; main 0 = none
 * 52  u32  key length
 * 56  'k' key                           the store key of the head
 * ..  value                             to the end
 * ```
 */
export const ROW_FORMAT = 1;
export const HEAD_BYTES = 39;
export const ROW_FIXED_BYTES = 57;
const FLAG_TOMBSTONE = 1;
const SELF_AT = 2;
const PREV_AT = 39;
/** Where the sub-revision of a row lies, and the revision of the row before it; its sub-revision follows. */
export const ROW_SUB_AT = 11;
export const ROW_PREV_AT: number = PREV_AT + 1;
const POINTER_BYTES = 13;
const KEY_LENGTH_AT = 52;
const HEAD_KEY_AT = 56;

const PREFIX_HEAD = 0x6b; // k
const PREFIX_REVISION = 0x72; // r
const PREFIX_SESSION = 0x73; // s
const SESSION_KEY_BYTES = 17;

export const META_KEY: Uint8Array = new Uint8Array([0x6d]); // m
/** Raft's hard state; written and read by the replica alone. */
export const HARD_STATE_KEY: Uint8Array = new Uint8Array([0x68]); // h
/** Membership that the last accepted `config` record set; written and read by the replica alone, the same on all replicas. */
export const MEMBERSHIP_KEY: Uint8Array = new Uint8Array([0x67]); // g
/** The shard's time after the last applied batch, u64 ms; as above. */
export const SHARD_TIME_KEY: Uint8Array = new Uint8Array([0x74]); // t
/** Samples of the shard's time by revision: local to a replica, not part of its logical state. */
export const REVISION_TIMES_KEY: Uint8Array = new Uint8Array([0x69]); // i
/** Progress of the background removal of compacted rows: local to a replica, not part of its logical state. */
export const COMPACTION_KEY: Uint8Array = new Uint8Array([0x63]); // c
/** Prefixes of heads and of revision rows. */
export const rowPrefixes: { readonly head: number; readonly revision: number } = {
  head: PREFIX_HEAD,
  revision: PREFIX_REVISION,
};
/** Prefix of leases (`l`), their attachments (`a`), sessions (`s`) and transaction intents (`x`). */
export const STATE_PREFIXES: {
  readonly attachment: number;
  readonly lease: number;
  readonly session: number;
  readonly intent: number;
  /** The one row of slot ownership. */
  readonly ownership: number;
} = { attachment: 0x61, lease: 0x6c, session: PREFIX_SESSION, intent: 0x78, ownership: 0x6f };

/** The newest version of a key, without its value. */
export interface Head {
  readonly modMain: number;
  readonly modSub: number;
  /** 0 when deleted, as version. */
  readonly create: number;
  readonly version: number;
  readonly lease: LeaseId;
  readonly deleted: boolean;
}

/** What a revision row is made from; `key` and `value` are copied. */
export interface RowFields extends Head {
  /** Previous row of the same key, tombstones included; 0 = none. */
  readonly prevMain: number;
  readonly prevSub: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Store key of the head of a user key. */
export function headKey(key: Uint8Array): Uint8Array {
  const out = new Uint8Array(key.length + 1);
  out[0] = PREFIX_HEAD;
  out.set(key, 1);
  return out;
}

/** Store range of the heads of an etcd range; `rangeEnd` is never empty here. */
export function headRange(
  key: Uint8Array,
  rangeEnd: Uint8Array,
): { readonly gte: Uint8Array; readonly lt: Uint8Array } {
  const lt = isOpenEnd(rangeEnd) ? new Uint8Array([PREFIX_HEAD + 1]) : headKey(rangeEnd);
  return { gte: headKey(key), lt };
}

/** The user key inside a head's store key, as a view. */
export function userKeyOfHead(storeKey: Uint8Array): Uint8Array {
  return storeKey.subarray(1);
}

/** Store key of a revision row. */
export function revisionKey(main: number, sub: number): Uint8Array {
  const out = new Uint8Array(POINTER_BYTES);
  writePointer(out, 0, main, sub);
  return out;
}

export function revisionKeyMain(storeKey: Uint8Array): number {
  return readU64(storeKey, 1);
}

export function revisionKeySub(storeKey: Uint8Array): number {
  return readU32(storeKey, 9);
}

/** Store key of a client's session; `clientId` is 32 hex digits. */
export function sessionKey(clientId: string): Uint8Array {
  const id = fromHex(clientId);
  assert(id !== undefined && id.length === 16, `client id must be 32 hex digits: ${clientId}`);
  const out = new Uint8Array(SESSION_KEY_BYTES);
  out[0] = PREFIX_SESSION;
  out.set(id, 1);
  return out;
}

/** Whether a store key is one that {@link sessionKey} makes. */
export function isSessionKey(storeKey: Uint8Array): boolean {
  return storeKey.length === SESSION_KEY_BYTES && storeKey[0] === PREFIX_SESSION;
}

export function clientIdOfSession(storeKey: Uint8Array): string {
  return toHex(storeKey.subarray(1));
}

/** Store range of everything under a one-byte prefix. */
export function prefixRange(prefix: number): { readonly gte: Uint8Array; readonly lt: Uint8Array } {
  return { gte: new Uint8Array([prefix]), lt: new Uint8Array([prefix + 1]) };
}

export function rowBytesLength(key: Uint8Array, value: Uint8Array): number {
  return ROW_FIXED_BYTES + key.length + value.length;
}

/** Appends a revision row, its length (u32) before it; returns where the row starts. */
export function writeRow(out: ByteWriter, row: RowFields): number {
  const { key, value } = row;
  const length = rowBytesLength(key, value);
  const at = out.reserve(length + 4);
  const bytes = out.bytes;
  writeU32(bytes, at, length);
  const start = at + 4;
  bytes[start] = ROW_FORMAT;
  bytes[start + 1] = row.deleted ? FLAG_TOMBSTONE : 0;
  writePointer(bytes, start + SELF_AT, row.modMain, row.modSub);
  writeU64(bytes, start + 15, row.create);
  writeU64(bytes, start + 23, row.version);
  writeI64(bytes, start + 31, row.lease);
  writePointer(bytes, start + PREV_AT, row.prevMain, row.prevSub);
  writeU32(bytes, start + KEY_LENGTH_AT, key.length);
  bytes[start + HEAD_KEY_AT] = PREFIX_HEAD;
  bytes.set(key, start + ROW_FIXED_BYTES);
  bytes.set(value, start + ROW_FIXED_BYTES + key.length);
  return start;
}

/** Whether `row` has the shape of a revision row of a known format. Everything below relies on it. */
export function isRow(row: Uint8Array): boolean {
  return (
    row.length > ROW_FIXED_BYTES &&
    row[0] === ROW_FORMAT &&
    row[SELF_AT] === PREFIX_REVISION &&
    row[PREV_AT] === PREFIX_REVISION &&
    row[HEAD_KEY_AT] === PREFIX_HEAD &&
    readU32(row, KEY_LENGTH_AT) >= 1 &&
    readU32(row, KEY_LENGTH_AT) <= row.length - ROW_FIXED_BYTES
  );
}

/** Decodes a head row, or the head at the start of a revision row. Throws KV_CORRUPT when it is of no known format. */
export function decodeHead(bytes: Uint8Array): Head {
  if (bytes.length < HEAD_BYTES || bytes[0] !== ROW_FORMAT) {
    throw new KvError('KV_CORRUPT', 'not a head row of a known format');
  }
  return {
    modMain: readU64(bytes, 3),
    modSub: readU32(bytes, 11),
    create: readU64(bytes, 15),
    version: readU64(bytes, 23),
    lease: readI64(bytes, 31) as LeaseId,
    deleted: bytes[1] === FLAG_TOMBSTONE,
  };
}

export function rowMain(row: Uint8Array): number {
  return readU64(row, 3);
}
export function rowSub(row: Uint8Array): number {
  return readU32(row, 11);
}
/** Of a tombstone: none. */
export function rowLease(row: Uint8Array): LeaseId {
  return readI64(row, 31) as LeaseId;
}
export function rowIsTombstone(row: Uint8Array): boolean {
  return row[1] === FLAG_TOMBSTONE;
}
export function rowPrevMain(row: Uint8Array): number {
  return readU64(row, PREV_AT + 1);
}
export function rowPrevSub(row: Uint8Array): number {
  return readU32(row, PREV_AT + 9);
}
/** Views into the row: the store keys it carries, its head, its user key and value. */
export function rowStoreKey(row: Uint8Array): Uint8Array {
  return row.subarray(SELF_AT, SELF_AT + POINTER_BYTES);
}
export function rowPrevStoreKey(row: Uint8Array): Uint8Array {
  return row.subarray(PREV_AT, PREV_AT + POINTER_BYTES);
}
export function rowHeadStoreKey(row: Uint8Array): Uint8Array {
  return row.subarray(HEAD_KEY_AT, ROW_FIXED_BYTES + readU32(row, KEY_LENGTH_AT));
}
export function rowHeadBytes(row: Uint8Array): Uint8Array {
  return row.subarray(0, HEAD_BYTES);
}
export function rowKey(row: Uint8Array): Uint8Array {
  return row.subarray(ROW_FIXED_BYTES, ROW_FIXED_BYTES + readU32(row, KEY_LENGTH_AT));
}
export function rowValue(row: Uint8Array): Uint8Array {
  return row.subarray(ROW_FIXED_BYTES + readU32(row, KEY_LENGTH_AT));
}

/** The key-value of a revision row; key and value are views. A tombstone has only key and modRevision. */
export function rowKeyValue(row: Uint8Array, keysOnly = false): KeyValue {
  return {
    key: rowKey(row),
    value: keysOnly ? EMPTY_BYTES : rowValue(row),
    createRevision: readU64(row, 15) as Revision,
    modRevision: rowMain(row) as Revision,
    version: readU64(row, 23),
    lease: rowLease(row),
  };
}

function writePointer(bytes: Uint8Array, at: number, main: number, sub: number): void {
  bytes[at] = PREFIX_REVISION;
  writeU64(bytes, at + 1, main);
  writeU32(bytes, at + 9, sub);
}
