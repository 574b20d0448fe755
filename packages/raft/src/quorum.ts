import type { MemberId } from '@kvorum/base';
import { assert } from '@kvorum/base';

/** Smallest number of voters any two of which share a member. */
export function quorumSize(voterCount: number): number {
  assert(voterCount > 0, 'a shard needs at least one voter');
  return Math.floor(voterCount / 2) + 1;
}

/** Whether a majority of `voters` satisfies `holds`. */
export function isQuorum(
  voters: readonly MemberId[],
  holds: (voter: MemberId) => boolean,
): boolean {
  let count = 0;
  for (const voter of voters) if (holds(voter)) count += 1;
  return count >= quorumSize(voters.length);
}

export type VoteTally = 'won' | 'lost' | 'open';

/** Result of a vote: `lost` once the voters who have not refused are no majority. */
export function tallyVotes(
  voters: readonly MemberId[],
  votes: ReadonlyMap<MemberId, boolean>,
): VoteTally {
  if (isQuorum(voters, (voter) => votes.get(voter) === true)) return 'won';
  return isQuorum(voters, (voter) => votes.get(voter) !== false) ? 'open' : 'lost';
}
