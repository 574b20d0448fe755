import { type ShardId, shardId } from '@kvorum/base';
import type { ShardMap } from '@kvorum/shard';
import { shardOfGroup } from '../moves/slot-groups.ts';
import type { LeasePlaces } from './lease-checker.ts';

/** Where keys are by the first map of a run, which shard `meta` keeps; without one each group of keys is a shard. */
export function placesOf(firstMap: ShardMap | undefined, meta: ShardId): LeasePlaces {
  const groupOf = (key: string): ShardId => shardId(/^s(\d+)\//.exec(key)?.[1] ?? '0');
  return firstMap === undefined
    ? { firstOwner: groupOf, meta: undefined }
    : { firstOwner: (key) => shardOfGroup(firstMap, groupOf(key)), meta };
}
