import type { KvRequest, ShardId } from '@kvorum/base';
import { routeRequest, type ShardMap, shardOfKey } from '@kvorum/shard';

/** The shard that serves a key. */
export function shardOf(map: ShardMap, key: Uint8Array): ShardId {
  return shardOfKey(map, key);
}

/** The shards that take part in a request. Errors: KV_CROSS_SHARD where it must be atomic over several. */
export function placeRequest(map: ShardMap, request: KvRequest): readonly ShardId[] {
  const route = routeRequest(map, request);
  switch (route.kind) {
    case 'shard':
      return [route.shard];
    case 'fan-out':
      return route.shards;
    case 'refused':
      throw route.error;
  }
}

/** Hex ids of a shard's voters, best leader first. */
export function votersOf(map: ShardMap, shard: string): readonly string[] {
  return map.shards.find((entry) => entry.id === shard)?.voters ?? [];
}
