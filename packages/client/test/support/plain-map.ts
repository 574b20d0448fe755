import { ShardRouter } from '../../src/shard-router.ts';

/** A shard map as it travels in a welcome. */
export function plainMap(shards: number, _voters: readonly string[]): unknown {
  return { version: 1, shards: Array.from({ length: shards }, (_, i) => String(i)) };
}

export function slotShard(key: Uint8Array, shards: number): string {
  return ShardRouter.parse(plainMap(shards, [])).shardOf(key);
}
