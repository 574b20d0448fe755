import type { ShardId } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import type { ShardMap } from '@kvorum/shard';
import type { World } from '../world.ts';
import { GROUP_IDS, shardOfGroup } from './slot-groups.ts';
import { SlotService } from './slot-service.ts';

/** Where a client believes that keys are. */
export interface Routing {
  /** What clients and checkers take for shards: keys that stay together, with revisions that only grow. */
  readonly groups: readonly ShardId[];
  shardOf(group: ShardId): ShardId;
  /** A shard said that keys are elsewhere. */
  refresh(): void;
}

/** Nothing moves: each shard is a group. */
export function fixedRouting({ shards }: Pick<World, 'shards'>): Routing {
  return { groups: shards, shardOf: (group) => group, refresh: () => undefined };
}

/** By a map of its own, which a client renews from any member when it was sent away. */
export function movingRouting(world: World, rng: Rng, firstMap: ShardMap): Routing {
  let map = firstMap;
  return {
    groups: GROUP_IDS,
    shardOf: (group) => shardOfGroup(map, group),
    refresh: () => {
      const service = world.members[rng.integer(0, world.members.length)]?.service;
      if (service instanceof SlotService && service.map.version > map.version) map = service.map;
    },
  };
}
