import { assert } from '@kvorum/base';
import { MEMBERSHIP_KEY } from '@kvorum/mvcc';
import type { StoreBatch } from '@kvorum/ports';
import { decodeGenesis, encodeMembership, type Genesis, type RecordKind } from '@kvorum/raft';
import type { AcceptedRecord } from './apply-loop.ts';
import { encodeMembershipRow } from './membership-row.ts';

/** Writes the membership that the last of these records sets, if any does. */
export function writeMembership(records: readonly AcceptedRecord[], batch: StoreBatch): void {
  for (const { kind, payload, state } of records) {
    const set = kind === 'config' ? payload : membershipOf(kind, payload);
    if (set !== undefined) batch.put(MEMBERSHIP_KEY, encodeMembershipRow(set, state.index));
  }
}

/** The filter lets no other genesis through than one that decodes. */
function genesisOf(payload: Uint8Array): Genesis {
  const genesis = decodeGenesis(payload);
  assert(genesis.ok, 'an accepted genesis decodes');
  return genesis.value;
}

/** Undefined: a record of this kind changes no data. */
export function writeSetOf(kind: RecordKind, payload: Uint8Array): Uint8Array | undefined {
  if (kind === 'batch') return payload;
  return kind === 'genesis' ? genesisOf(payload).writeSet : undefined;
}

function membershipOf(kind: RecordKind, payload: Uint8Array): Uint8Array | undefined {
  return kind === 'genesis' ? encodeMembership(genesisOf(payload).membership) : undefined;
}
