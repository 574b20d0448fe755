import type { LogOffset, MemberId } from '@kvorum/base';
import { logOffset } from '@kvorum/base';
import { quorumSize } from './quorum.ts';
import type { RaftStatus } from './status.ts';

export interface TruncationFloor {
  /** Every record below it is synced on the disks that count and wanted by no transfer; the record at it stays. */
  readonly floor: LogOffset;
  /** Voters that are left out, because an operator said so and a majority remains. */
  readonly excluded: readonly MemberId[];
}

/**
 * How far a leader may truncate its log: nothing above what every voter's disk holds synced, minus voters that an operator gave up, but
 * never below a majority; nothing that a snapshot on its way still needs; and never the leader's own last accepted record, which a
 * restarted replica reads again to see that the log is the same one.
 *
 * @param status - of the leader's own raft.
 * @returns undefined when this replica does not lead or a voter that counts has not reported in this term.
 */
export function truncationFloor(
  status: RaftStatus,
  self: MemberId,
  given: readonly MemberId[],
): TruncationFloor | undefined {
  if (status.role !== 'leader') return undefined;
  const { accepted, peers, voters } = status;
  const excluded = voters.filter((voter) => voter !== self && given.includes(voter));
  const counts = voters.length - excluded.length >= quorumSize(voters.length);
  const left = counts ? excluded : [];
  let floor: number = Math.min(accepted.lastOffset, status.durableOffset);
  for (const voter of voters) {
    if (voter === self || left.includes(voter)) continue;
    floor = Math.min(floor, peers.find((peer) => peer.id === voter)?.durableOffset ?? -1);
  }
  for (const { pinOffset } of [status, ...peers]) floor = Math.min(floor, pinOffset ?? floor);
  return floor < 0 ? undefined : { floor: logOffset(floor), excluded: left };
}
