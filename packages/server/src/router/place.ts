import { isShardId, type KvRequest, META_SHARD, type ShardId } from '@kvorum/base';
import { routeRequest, type ShardMap, shardEntryOf, shardOfKey } from '@kvorum/shard';

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

/** A shard of the map that clients may address: the meta shard holds no client keys. Undefined for any other text. */
export function dataShardOf(map: ShardMap, text: string): ShardId | undefined {
  const isData = isShardId(text) && text !== META_SHARD;
  return isData && shardEntryOf(map, text) !== undefined ? text : undefined;
}

/** Hex ids of a shard's voters, best leader first. */
export function votersOf(map: ShardMap, shard: string): readonly string[] {
  return map.shards.find((entry) => entry.id === shard)?.voters ?? [];
}
