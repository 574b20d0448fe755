import {
  assert,
  copyBytes,
  err,
  fromHex,
  KvError,
  type LogIndex,
  type LogOffset,
  logIndex,
  logOffset,
  ok,
  type Result,
  type Revision,
  revision,
  type Term,
  term,
  toHex,
} from '@kvorum/base';
import { ByteReader, ByteWriter } from './binary.ts';

/** Format of the whole store: a replica refuses a newer one. */
export const STORE_FORMAT = 1;
const CHAIN_HASH_BYTES = 32;
const LEADER_ID_BYTES = 16;

/** The row `m`: what is applied, written in the same batch as what it admits. */
export interface EngineMeta {
  /** Generation of the log that the offsets are of. */
  readonly generation: number;
  /** Log offset of the last record looked at, accepted or ignored; -1 = none. */
  readonly offset: LogOffset;
  readonly index: LogIndex;
  readonly term: Term;
  /** Leader id of the current term (32 hex digits), '' before the first barrier. */
  readonly leaderId: string;
  readonly seq: number;
  /** 32 bytes; zeros before the first record. */
  readonly chainHash: Uint8Array;
  /** Offset and SHA-256 of the last accepted record: re-reading it proves that the log is the same one. -1, empty = none. */
  readonly lastOffset: LogOffset;
  readonly lastDigest: Uint8Array;
  readonly revision: Revision;
  /** -1 = never compacted. */
  readonly compactRevision: number;
  readonly format: number;
}

/** The state of a store that holds nothing. */
export function initialMeta(): EngineMeta {
  return {
    generation: 0,
    offset: logOffset(-1),
    index: logIndex(0),
    term: term(0),
    leaderId: '',
    seq: 0,
    chainHash: new Uint8Array(CHAIN_HASH_BYTES),
    lastOffset: logOffset(-1),
    lastDigest: new Uint8Array(0),
    revision: revision(1),
    compactRevision: -1,
    format: STORE_FORMAT,
  };
}

export function encodeMeta(meta: EngineMeta): Uint8Array {
  assert(meta.chainHash.length === CHAIN_HASH_BYTES, 'chain hash must have 32 bytes');
  const out = new ByteWriter(128);
  out.u8(meta.format);
  out.u64(meta.offset + 1);
  out.u64(meta.index);
  out.u64(meta.term);
  const leader = fromHex(meta.leaderId === '' ? '0'.repeat(32) : meta.leaderId);
  assert(
    leader !== undefined && leader.length === LEADER_ID_BYTES,
    'leader id: 32 hex digits or empty',
  );
  out.raw(leader);
  out.u64(meta.seq);
  out.raw(meta.chainHash);
  out.u64(meta.lastOffset + 1);
  out.blob(meta.lastDigest);
  out.u64(meta.revision);
  out.u64(meta.compactRevision + 1);
  // Absent is 0: the version before knows no other, and must not read the store of a shard that has been recovered.
  if (meta.generation > 0) out.u64(meta.generation);
  return out.view();
}

/** Errors: KV_CORRUPT (damaged, or written by a newer format). The chain hash is a copy. */
export function decodeMeta(bytes: Uint8Array): Result<EngineMeta, KvError> {
  const input = new ByteReader(bytes);
  const format = input.u8();
  if (format !== STORE_FORMAT) {
    return err(
      new KvError('KV_CORRUPT', `store format ${format}, this build reads ${STORE_FORMAT}`),
    );
  }
  const offset = input.u64() - 1;
  const index = input.u64();
  const termNumber = input.u64();
  const leader = toHex(input.raw(LEADER_ID_BYTES));
  const seq = input.u64();
  const chainHash = copyBytes(input.raw(CHAIN_HASH_BYTES));
  const lastOffset = input.u64() - 1;
  const lastDigest = copyBytes(input.blob());
  const main = input.u64();
  const compactRevision = input.u64() - 1;
  const generation = input.finished() ? 0 : input.u64();
  if (!input.finished()) return err(new KvError('KV_CORRUPT', 'unreadable meta row'));
  return ok({
    generation,
    offset: logOffset(offset),
    index: logIndex(index),
    term: term(termNumber),
    leaderId: /^0+$/.test(leader) ? '' : leader,
    seq,
    chainHash,
    lastOffset: logOffset(lastOffset),
    lastDigest,
    revision: revision(main),
    compactRevision,
    format,
  });
}
