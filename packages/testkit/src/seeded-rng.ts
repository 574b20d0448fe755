import { assert, InvariantError } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';

const MASK_64 = 0xffff_ffff_ffff_ffffn;

/** splitmix64 spreads one seed over the four 32-bit words that xoshiro128** starts from. */
function splitmixWords(seed: number): Uint32Array {
  const words = new Uint32Array(4);
  let state = BigInt(seed);
  for (let i = 0; i < 4; i += 2) {
    state = (state + 0x9e37_79b9_7f4a_7c15n) & MASK_64;
    let mixed = state;
    mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & MASK_64;
    mixed = ((mixed ^ (mixed >> 27n)) * 0x94d0_49bb_1331_11ebn) & MASK_64;
    mixed ^= mixed >> 31n;
    words[i] = Number(mixed & 0xffff_ffffn);
    words[i + 1] = Number(mixed >> 32n);
  }
  return words;
}

const rotateLeft = (value: number, bits: number): number =>
  (value << bits) | (value >>> (32 - bits));

/**
 * The same numbers for the same seed, on every machine and version: a printed seed replays a run. Not for secrets.
 * Source: Blackman and Vigna, xoshiro128** 1.1, seeded by splitmix64.
 *
 * @param seed - safe integer >= 0.
 */
export function seededRng(seed: number): Rng {
  assert(Number.isSafeInteger(seed) && seed >= 0, `seed must be a safe integer >= 0: ${seed}`);
  let [a = 0, b = 0, c = 0, d = 0] = splitmixWords(seed);

  /** Uniform in 0..2^32-1. */
  function next(): number {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result;
  }

  return {
    integer(fromInclusive: number, toExclusive: number): number {
      const span = toExclusive - fromInclusive;
      if (!Number.isSafeInteger(fromInclusive) || !Number.isSafeInteger(span) || span <= 0) {
        throw new InvariantError(`empty or unsafe range [${fromInclusive}, ${toExclusive})`);
      }
      // 53 bits scaled down: the bias is below 2^-20 for any span a simulation asks for.
      const fraction = (next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53;
      return fromInclusive + Math.floor(fraction * span);
    },
    bytes(length: number): Uint8Array {
      const out = new Uint8Array(length);
      for (let i = 0; i < length; i += 1) out[i] = next() >>> 24;
      return out;
    },
  };
}
