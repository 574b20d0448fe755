import type { ShardId } from '@kvorum/base';
import type { SimMember } from '../member.ts';
import type { World, WorldObserver } from '../world.ts';
import type { Problems } from './names.ts';

/** Votes on their way when the need for a snapshot shows were given before it. */
const ON_THE_WAY_MS = 500;

/** Watches what is deleted from the logs, and that whoever installs a snapshot votes for nobody. */
export class TruncationChecker implements WorldObserver {
  readonly #world: World;
  readonly #problems: Problems;
  /** Since when a replica has been seen to install, by member and shard. */
  readonly #installing = new Map<string, number>();

  constructor(world: World, problems: Problems) {
    this.#world = world;
    this.#problems = problems;
  }

  /** Every voter that counts holds on its disk what goes; a disk that was lost meanwhile held it. */
  readonly truncated = (leader: SimMember, shard: ShardId, before: number): void => {
    const status = leader.replica(shard)?.status();
    if (status === undefined) return;
    const { excluded } = status.truncation;
    const counted = status.raft.voters.filter((voter) => !excluded.includes(voter));
    const isMajority = counted.length * 2 > status.raft.voters.length;
    for (const member of this.#world.members) {
      const counts = isMajority ? counted : status.raft.voters;
      if (!counts.includes(member.id)) continue;
      const held = Math.max(member.durableOffset(shard), member.lost.get(shard) ?? -1);
      if (held + 1 >= before) continue;
      const text = `${leader.name} truncates shard ${shard} below ${before}, ${member.name} holds up to ${held}`;
      this.#problems.add('log-truncation', text);
    }
  };

  readonly sent = (member: SimMember, shard: ShardId, payload: unknown): void => {
    const key = `${shard} ${member.name} ${member.life}`;
    if (member.replica(shard)?.status().phase !== 'installing') {
      this.#installing.delete(key);
      return;
    }
    const nowMs = this.#world.clock.nowMs();
    const sinceMs = this.#installing.get(key) ?? nowMs;
    this.#installing.set(key, sinceMs);
    if (nowMs - sinceMs < ON_THE_WAY_MS || !isVote(payload)) return;
    const text = `${member.name} shard ${shard} votes while it installs a snapshot`;
    this.#problems.add('install-idle', text);
  };
}

function isVote(payload: unknown): boolean {
  if (typeof payload !== 'object' || payload === null || !('kind' in payload)) return false;
  if (payload.kind === 'vote-request') return true;
  return payload.kind === 'vote-response' && 'granted' in payload && payload.granted === true;
}
