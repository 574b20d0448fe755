import type { Traits } from './generate.ts';
import type { Difference, Intended } from './lockstep.ts';

/** A difference that is meant to be. */
export interface IntendedDifference {
  readonly name: string;
  readonly reason: string;
  /** Versions of the reference that it is seen against; undefined = all. */
  readonly versions?: RegExp;
  /** As narrow as it can be said. */
  readonly matches: (difference: Difference) => boolean;
}

export const INTENDED: readonly IntendedDifference[] = [];

export function intendedFor(version: string): Intended {
  const list = INTENDED.filter(({ versions }) => versions?.test(version) ?? true);
  return (difference) => list.some(({ matches }) => matches(difference));
}

/** What this version of etcd can be asked. */
export function traitsOf(version: string): Traits {
  return { unknownEnums: !version.startsWith('3.4.') };
}
