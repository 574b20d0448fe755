import { type AcceptedState, type HardState, Raft } from '@kvorum/raft';
import { firstElectionMs } from './first-election.ts';
import type { IndexedMembership } from './membership-row.ts';
import type { ReplicaOptions } from './replica-options.ts';

/** The consensus core of a replica as its options, its disk and its membership say. */
export function createRaft(
  options: ReplicaOptions,
  membership: IndexedMembership,
  restored: { readonly hard: HardState; readonly accepted: AcceptedState },
): Raft {
  const { clock, limits, rng } = options;
  return new Raft(
    {
      self: options.self,
      leaderId: options.leaderId,
      shardUid: options.shardUid,
      generation: options.generation,
      ...membership,
      heartbeatMs: limits.heartbeatMs,
      electionMsMin: limits.electionMsMin,
      electionMsMax: limits.electionMsMax,
      firstElectionMs: firstElectionMs(options),
      random: (from, to) => rng.integer(from, to),
      chain: (chainHash, digest) => options.sha256(chainHash, digest),
    },
    restored,
    clock.nowMs(),
  );
}
