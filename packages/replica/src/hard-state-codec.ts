import { KvError, memberId, term } from '@kvorum/base';
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

/** Throws KV_CORRUPT when the row is damaged or of another format. */
export function decodeHardState(bytes: Uint8Array | undefined): HardState {
  if (bytes === undefined) return { term: term(0), vote: undefined };
  if (bytes.length !== BYTES || bytes[0] !== FORMAT) throw unreadable();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const vote = view.getBigUint64(9);
  const number = Number(view.getBigUint64(1));
  if (!Number.isSafeInteger(number)) throw unreadable();
  return {
    term: term(number),
    vote: vote === 0n ? undefined : memberId(vote),
  };
}

const unreadable = (): KvError => new KvError('KV_CORRUPT', 'unreadable hard state row');
