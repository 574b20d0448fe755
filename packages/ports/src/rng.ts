/** Randomness as a port; the seed of a seeded one is printed and replays. */
export interface Rng {
  /** Uniform integer in [fromInclusive, toExclusive). */
  integer(fromInclusive: number, toExclusive: number): number;
  bytes(length: number): Uint8Array;
}
