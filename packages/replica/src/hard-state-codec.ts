import { assert, memberId, term } from '@kvorum/base';
import type { HardState } from '@kvorum/raft';

const FORMAT = 1;
const BYTES = 17;

/** format u8 · term u64 · vote u64 (0 = none), big endian. */
export function encodeHardState(state: HardState): Uint8Array {
  const out = new Uint8Array(BYTES);
  const view = new DataView(out.buffer);
  view.setUint8(0, FORMAT);
  view.setBigUint64(1, BigInt(state.term));
  view.setBigUint64(9, state.vote ?? 0n);
  return out;
}

export function decodeHardState(bytes: Uint8Array | undefined): HardState {
  if (bytes === undefined) return { term: term(0), vote: undefined };
  assert(bytes.length === BYTES && bytes[0] === FORMAT, 'hard state row has an unknown format');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const vote = view.getBigUint64(9);
  return {
    term: term(Number(view.getBigUint64(1))),
    vote: vote === 0n ? undefined : memberId(vote),
  };
}
