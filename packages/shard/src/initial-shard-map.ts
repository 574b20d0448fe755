import { assert, META_SHARD, type ShardId, shardId } from '@kvorum/base';
import { type RoutingRule, SLOT_COUNT } from './routing-part.ts';
import type { MemberEntry, ShardEntry, ShardMap, SlotRange } from './shard-map.ts';

export interface InitialShardMapOptions {
  readonly clusterId: string;
  /** 1..16384. */
  readonly shardCount: number;
  readonly members: readonly MemberEntry[];
  readonly rules: readonly RoutingRule[];
  /** Voters of a shard, at most one a member; more than there are members means all of them. */
  readonly replicas: number;
  /** One uid (32 hex digits) for each of the shards 0..shardCount-1. */
  readonly uids: readonly string[];
  /** With it the map holds the meta group too. */
  readonly metaUid?: string;
}

/**
 * Preference order of shard number `index`: first preferences go round the members; with each full round the others
 * shift by one, so that the shards of a member that fails spread over all the others.
 */
function votersOf(index: number, members: readonly MemberEntry[], replicas: number): string[] {
  const count = members.length;
  const voters: string[] = [];
  const first = index % count;
  const round = Math.floor(index / count);
  for (let i = 0; i < Math.min(replicas, count); i += 1) {
    const step = i === 0 ? 0 : 1 + ((round + i - 1) % (count - 1));
    const member = members[(first + step) % count];
    assert(member !== undefined, 'a preference outside the members');
    voters.push(member.id);
  }
  return voters;
}

/** The map of a new cluster: version 1, slots split evenly, first and second preferences spread evenly. */
export function initialShardMap(options: InitialShardMapOptions): ShardMap {
  const { clusterId, shardCount, members, rules, replicas, uids, metaUid } = options;
  assert(
    Number.isSafeInteger(shardCount) && shardCount >= 1 && shardCount <= SLOT_COUNT,
    `shardCount must be in 1..${SLOT_COUNT}: ${shardCount}`,
  );
  assert(members.length > 0 && replicas >= 1, 'a cluster needs members and replicas');
  assert(uids.length === shardCount, `${shardCount} shards need as many uids, not ${uids.length}`);

  const firstSlot = (index: number): number => Math.floor((index * SLOT_COUNT) / shardCount);
  const slots: SlotRange[] = [];
  const shards: ShardEntry[] = [];
  const addShard = (id: ShardId, uid: string): void => {
    const voters = votersOf(shards.length, members, replicas);
    shards.push({ id, uid, generation: 0, voters });
  };
  for (const [index, uid] of uids.entries()) {
    const id = shardId(index);
    slots.push({ from: firstSlot(index), to: firstSlot(index + 1) - 1, shard: id });
    addShard(id, uid);
  }
  if (metaUid !== undefined) addShard(META_SHARD, metaUid);
  return { version: 1, clusterId, slots, shards, members, rules };
}
