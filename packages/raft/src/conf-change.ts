import type { MemberId, Result } from '@kvorum/base';
import { assert, err, memberId, ok } from '@kvorum/base';

/** Who votes and who only follows: the payload of a `config` record. */
export interface Membership {
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
}

const VERSION = 1;
const HEADER_BYTES = 5;
const ID_BYTES = 8;
const MEMBERS_MAX = 0xffff;

/** Version byte 1, voter count u16, learner count u16, then the ids as u64; all big-endian. */
export function encodeMembership(membership: Membership): Uint8Array {
  const ids = [...membership.voters, ...membership.learners];
  assert(ids.length <= MEMBERS_MAX, `at most ${MEMBERS_MAX} members: ${ids.length}`);
  const bytes = new Uint8Array(HEADER_BYTES + ids.length * ID_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint16(1, membership.voters.length);
  view.setUint16(3, membership.learners.length);
  ids.forEach((id, at) => {
    view.setBigUint64(HEADER_BYTES + at * ID_BYTES, id);
  });
  return bytes;
}

/** Reads {@link encodeMembership}; the error text says what is wrong. */
export function decodeMembership(bytes: Uint8Array): Result<Membership, string> {
  if (bytes.length < HEADER_BYTES) return err('membership: too short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint8(0) !== VERSION) return err(`membership: unknown version ${view.getUint8(0)}`);
  const voterCount = view.getUint16(1);
  const count = voterCount + view.getUint16(3);
  if (bytes.length !== HEADER_BYTES + count * ID_BYTES) return err('membership: wrong length');
  const ids: MemberId[] = [];
  for (let at = 0; at < count; at += 1) {
    const id = view.getBigUint64(HEADER_BYTES + at * ID_BYTES);
    if (id === 0n) return err('membership: member id 0');
    ids.push(memberId(id));
  }
  if (voterCount === 0) return err('membership: no voter');
  if (new Set(ids).size !== ids.length) return err('membership: a member is named twice');
  return ok({ voters: ids.slice(0, voterCount), learners: ids.slice(voterCount) });
}

/**
 * Number of voters added plus removed. One at a time keeps any two consecutive majorities
 * overlapping.
 * Source: Raft thesis §4.1.
 */
export function changedVoterCount(from: readonly MemberId[], to: readonly MemberId[]): number {
  const added = to.filter((id) => !from.includes(id));
  const removed = from.filter((id) => !to.includes(id));
  return added.length + removed.length;
}
