import { EMPTY_BYTES, logIndex, logOffset, term } from '@kvorum/base';
import type { AcceptedState } from './input.ts';

/** Length of a chain hash and of a record digest, in bytes (SHA-256). */
export const HASH_BYTES = 32;

/** The `prevHash` of a barrier: it cannot know what stands before it. */
export const ZERO_HASH: Uint8Array = new Uint8Array(HASH_BYTES);

/** State of a replica that has judged nothing. The chain starts at 32 zero bytes. */
export function emptyAcceptedState(): AcceptedState {
  return {
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
