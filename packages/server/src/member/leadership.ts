import type { MemberId } from '@kvorum/base';
import type { ReplicaPort } from '@kvorum/replica';
import type { Logger } from '../logger.ts';
import { pause } from './system.ts';

/** Hands every one of these shards, which are led here, to the reachable member that is furthest; gives up after `timeoutMs`. */
export async function giveLeadershipAway(
  led: readonly ReplicaPort[],
  logger: Logger,
  timeoutMs: number,
): Promise<void> {
  const moves = led.map(async (replica) => {
    const target = bestSuccessor(replica);
    if (target === undefined) return;
    try {
      await replica.transferLeadership(target);
    } catch (error) {
      logger.warn({ shard: replica.shard, err: error }, 'leadership not handed over');
    }
  });
  if (moves.length > 0) await Promise.race([Promise.all(moves), pause(timeoutMs)]);
}

function bestSuccessor(replica: ReplicaPort): MemberId | undefined {
  const { peers } = replica.status().raft;
  const able = peers.filter((peer) => peer.reachable && peer.logReachable);
  able.sort((a, b) => b.index - a.index);
  return able[0]?.id;
}
