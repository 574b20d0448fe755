import type { LogIndex, LogOffset, Result } from '@kvorum/base';
import { err, logIndex, logOffset, ok } from '@kvorum/base';
import { decodeMembership, encodeMembership, type Membership } from './conf-change.ts';

/**
 * The payload of a `genesis` record, the first of a log's generation above 0: on which replica's state the new generation stands. The
 * chain hash of that state is the record's `prevHash`.
 */
export interface Genesis {
  /** Generation of the log that the state was read from, and its position there. */
  readonly parentGeneration: number;
  readonly parentOffset: LogOffset;
  /** Accepted records in that state. */
  readonly index: LogIndex;
  /** Who votes from here on. */
  readonly membership: Membership;
  /** A write set of the state machine, applied with the record. */
  readonly writeSet: Uint8Array;
}

const VERSION = 1;
const HEADER_BYTES = 29;

/** version u8 (1) · parent generation u64 · parent offset + 1 u64 · index u64 · bytes of the membership u32 · it · write set; big-endian. */
export function encodeGenesis(genesis: Genesis): Uint8Array {
  const membership = encodeMembership(genesis.membership);
  const bytes = new Uint8Array(HEADER_BYTES + membership.length + genesis.writeSet.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setBigUint64(1, BigInt(genesis.parentGeneration));
  view.setBigUint64(9, BigInt(genesis.parentOffset + 1));
  view.setBigUint64(17, BigInt(genesis.index));
  view.setUint32(25, membership.length);
  bytes.set(membership, HEADER_BYTES);
  bytes.set(genesis.writeSet, HEADER_BYTES + membership.length);
  return bytes;
}

/** Reads {@link encodeGenesis}; the error text says what is wrong. */
export function decodeGenesis(bytes: Uint8Array): Result<Genesis, string> {
  if (bytes.length < HEADER_BYTES) return err('genesis: too short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint8(0) !== VERSION) return err(`genesis: unknown version ${view.getUint8(0)}`);
  const [generation, offset, index] = [1, 9, 17].map((at) => Number(view.getBigUint64(at)));
  const end = HEADER_BYTES + view.getUint32(25);
  if (end > bytes.length) return err('genesis: too short');
  if (!isCount(generation) || !isCount(offset) || !isCount(index)) {
    return err('genesis: a number is out of range');
  }
  const membership = decodeMembership(bytes.subarray(HEADER_BYTES, end));
  if (!membership.ok) return membership;
  return ok({
    parentGeneration: generation,
    parentOffset: logOffset(offset - 1),
    index: logIndex(index),
    membership: membership.value,
    writeSet: bytes.subarray(end),
  });
}

function isCount(value: number | undefined): value is number {
  return Number.isSafeInteger(value);
}
