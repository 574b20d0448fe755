import { initialShardMap, type MemberEntry, parseShardMap, shardOfKey } from '@kvorum/shard';

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** A shard map as it travels in a welcome. */
export function plainMap(shards: number, members: readonly MemberEntry[]): unknown {
  return initialShardMap({
    clusterId: hex(0xc1, 16),
    shardCount: shards,
    members,
    rules: [],
    replicas: members.length,
    uids: Array.from({ length: shards }, (_, i) => hex(i + 1, 32)),
  });
}

export function shardIn(map: unknown, key: Uint8Array): string {
  const parsed = parseShardMap(map);
  if (!parsed.ok) throw new TypeError(parsed.error);
  return shardOfKey(parsed.value, key);
}
