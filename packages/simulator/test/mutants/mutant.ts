import type { InvariantName, Plant, Swarm } from '@kvorum/simulator';

/** A textual change of one source file of the product; `find` stands in it exactly once. */
export interface Edit {
  /** Below `packages/`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A known bug: the simulation must find it. */
export interface Mutant {
  readonly name: string;
  /** Bends a copy of the source as it is loaded… */
  readonly edits?: readonly Edit[];
  /** …or the ports of every member. */
  readonly plant?: () => Plant;
  /** Bends what the seeds draw towards where the bug lives. */
  readonly adjust?: (swarm: Swarm) => Swarm;
  /** Which invariants may be the one that sees it; any when left out. */
  readonly seenBy?: readonly InvariantName[];
  /** Takes many seeds: not for every run of the tests. */
  readonly slow?: true;
}
