import {
  assert,
  err,
  fromHex,
  InvariantError,
  type LeaderId,
  leaderId,
  ok,
  type Result,
  type Term,
  term,
  toHex,
} from '@kvorum/base';

/** What a record of a shard's log is; see DESIGN §3. */
export type LogRecordKind = 'barrier' | 'batch' | 'config' | 'genesis';

/** One record of a shard's log: the unit of acceptance. */
export interface LogRecord {
  /** 16 bytes; a topic that holds another shard's records is recognised by it. */
  readonly shardUid: Uint8Array;
  /** Generation of the shard's log; raised by the recovery of a halted shard. */
  readonly generation: number;
  readonly term: Term;
  readonly leaderId: LeaderId;
  /** Position in the leader's stream of its term; a barrier is 0. */
  readonly seq: number;
  /** 32 bytes: chain hash of the history the record was computed from; all zero in a barrier. */
  readonly prevHash: Uint8Array;
  readonly kind: LogRecordKind;
  /** The leader's wall clock, milliseconds since 1970. Informative, except for lease times. */
  readonly leaderTimeMs: number;
  readonly payload: Uint8Array;
}

/** `unknown-version`: written by a newer Kvorum. `malformed`: not a record, or a damaged one. */
export type LogRecordError = 'unknown-version' | 'malformed';

/**
 * Layout, big endian. Frozen: records live as long as their topics; a change takes a new version byte.
 *
 *   at  size
 *    0     4  magic "KVLR"
 *    4     1  version
 *    5     1  kind
 *    6     2  zero
 *    8    16  shardUid
 *   24     8  generation
 *   32     8  term
 *   40    16  leaderId
 *   56     8  seq
 *   64    32  prevHash
 *   96     8  leaderTimeMs
 *  104     4  payload length
 *  108        payload
 */
export const LOG_RECORD_HEADER_BYTES = 108;
export const LOG_RECORD_VERSION = 1;
const MAGIC = 0x4b_56_4c_52;
const SHARD_UID_BYTES = 16;
const HASH_BYTES = 32;
const TWO_32 = 2 ** 32;

const KIND_CODE: Readonly<Record<LogRecordKind, number>> = {
  barrier: 1,
  batch: 2,
  config: 3,
  genesis: 4,
};
const KIND_OF: readonly (LogRecordKind | undefined)[] = [
  undefined,
  'barrier',
  'batch',
  'config',
  'genesis',
];

function putCounter(view: DataView, at: number, value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new InvariantError(`record ${name} must be a safe integer >= 0: ${value}`);
  }
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value >>> 0);
}

/** Undefined when the 64 bits do not fit a safe integer. */
function getCounter(view: DataView, at: number): number | undefined {
  const value = view.getUint32(at) * TWO_32 + view.getUint32(at + 4);
  return Number.isSafeInteger(value) ? value : undefined;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** The bytes of a record: one allocation, the payload copied once. Asserts every field. */
export function encodeLogRecord(record: LogRecord): Uint8Array {
  const { shardUid, prevHash, payload } = record;
  assert(shardUid.length === SHARD_UID_BYTES, `shardUid must be 16 bytes: ${shardUid.length}`);
  assert(prevHash.length === HASH_BYTES, `prevHash must be 32 bytes: ${prevHash.length}`);
  assert(record.kind !== 'barrier' || isZero(prevHash), 'a barrier carries a zero prevHash');
  assert(payload.length < TWO_32, `payload too long: ${payload.length}`);
  const leader = fromHex(record.leaderId);
  assert(leader?.length === 16, `leaderId must be 32 hex digits: ${record.leaderId}`);

  const out = new Uint8Array(LOG_RECORD_HEADER_BYTES + payload.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC);
  view.setUint8(4, LOG_RECORD_VERSION);
  view.setUint8(5, KIND_CODE[record.kind]);
  out.set(shardUid, 8);
  putCounter(view, 24, record.generation, 'generation');
  putCounter(view, 32, record.term, 'term');
  out.set(leader, 40);
  putCounter(view, 56, record.seq, 'seq');
  out.set(prevHash, 64);
  putCounter(view, 96, record.leaderTimeMs, 'leaderTimeMs');
  view.setUint32(104, payload.length);
  out.set(payload, LOG_RECORD_HEADER_BYTES);
  return out;
}

/** Reads a record; byte fields are views into `bytes`, not copies, so `bytes` must not change after. */
export function decodeLogRecord(bytes: Uint8Array): Result<LogRecord, LogRecordError> {
  if (bytes.length < 5) return err('malformed');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== MAGIC) return err('malformed');
  if (view.getUint8(4) !== LOG_RECORD_VERSION) return err('unknown-version');
  if (bytes.length < LOG_RECORD_HEADER_BYTES) return err('malformed');

  const kind = KIND_OF[view.getUint8(5)];
  const generation = getCounter(view, 24);
  const termNumber = getCounter(view, 32);
  const seq = getCounter(view, 56);
  const leaderTimeMs = getCounter(view, 96);
  const prevHash = bytes.subarray(64, 96);
  if (
    kind === undefined ||
    view.getUint16(6) !== 0 ||
    generation === undefined ||
    termNumber === undefined ||
    seq === undefined ||
    leaderTimeMs === undefined ||
    view.getUint32(104) !== bytes.length - LOG_RECORD_HEADER_BYTES ||
    (kind === 'barrier' && !isZero(prevHash))
  ) {
    return err('malformed');
  }
  return ok({
    shardUid: bytes.subarray(8, 24),
    generation,
    term: term(termNumber),
    leaderId: leaderId(toHex(bytes.subarray(40, 56))),
    seq,
    prevHash,
    kind,
    leaderTimeMs,
    payload: bytes.subarray(LOG_RECORD_HEADER_BYTES),
  });
}
