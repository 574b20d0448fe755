import { assert, concatBytes, type LogIndex, logIndex } from '@kvorum/base';
import { decodeMembership, type Membership } from '@kvorum/raft';

/** A membership with the index of the `config` record that set it; 0 = what the shard was created with. */
export interface IndexedMembership extends Membership {
  readonly configIndex: LogIndex;
}

const FORMAT = 2;
const HEADER_BYTES = 9;

/** format u8 (2) · index u64 · the record's payload. */
export function encodeMembershipRow(payload: Uint8Array, index: LogIndex): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint8(0, FORMAT);
  view.setBigUint64(1, BigInt(index));
  return concatBytes(header, payload);
}

/** Reads {@link encodeMembershipRow}, and the bare payload that the first version stored. */
export function decodeMembershipRow(row: Uint8Array): IndexedMembership {
  const isIndexed = row[0] === FORMAT && row.length > HEADER_BYTES;
  const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
  const configIndex = logIndex(isIndexed ? Number(view.getBigUint64(1)) : 0);
  const membership = decodeMembership(isIndexed ? row.subarray(HEADER_BYTES) : row);
  assert(membership.ok, 'the membership row is damaged');
  return { ...membership.value, configIndex };
}
