import { assert, EMPTY_BYTES, logIndex, logOffset, term } from '@kvorum/base';
import type { AcceptedState } from './input.ts';

/** Length of a chain hash and of a record digest, in bytes (SHA-256). */
export const HASH_BYTES = 32;

/** The `prevHash` of a barrier: it cannot know what stands before it. */
export const ZERO_HASH: Uint8Array = new Uint8Array(HASH_BYTES);

/** State of a replica that has judged nothing. The chain starts at 32 zero bytes. */
export function emptyAcceptedState(): AcceptedState {
  return {
    generation: 0,
    offset: logOffset(-1),
    index: logIndex(0),
    term: term(0),
    leaderId: '',
    seq: 0,
    chainHash: ZERO_HASH,
    lastOffset: logOffset(-1),
    lastDigest: EMPTY_BYTES,
  };
}

/**
 * The restored state of a replica as it begins to read its log of `generation`. A state of an earlier generation keeps its history,
 * which the genesis record will be compared with; in the new log it has judged nothing.
 */
export function enterGeneration(state: AcceptedState, generation: number): AcceptedState {
  assert(state.generation <= generation, 'a replica never goes back to an earlier generation');
  if (state.generation === generation) return state;
  return { ...state, offset: logOffset(-1), lastOffset: logOffset(-1), lastDigest: EMPTY_BYTES };
}
