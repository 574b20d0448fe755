import type { ReplicaOptions } from './replica-options.ts';

/** First campaign after a start: soon for the preferred leader, so that a cold start does not wait an election timeout. */
export function firstElectionMs(options: ReplicaOptions): number {
  const { heartbeatMs, electionMsMin } = options.limits;
  const spread = options.rng.integer(0, heartbeatMs);
  return Math.min(heartbeatMs * (1 + 3 * options.preferenceRank) + spread, electionMsMin);
}
