import { shardId } from '@kvorum/base';
import { changeMembers, parseShardMap, type ShardMap } from '@kvorum/shard';
import { describe, expect, it } from 'vitest';

const id = (n: number): string => n.toString(16).padStart(16, '0');

function mapOf(memberCount: number): ShardMap {
  const members = Array.from({ length: memberCount }, (_, i) => ({
    id: id(i + 1),
    name: `m${i + 1}`,
    peer: `h${i}:1`,
    client: `h${i}:2`,
  }));
  const voters = members.map((member) => member.id);
  return {
    version: 1,
    clusterId: id(9),
    slots: [{ from: 0, to: 16_383, shard: shardId(0) }],
    shards: [{ id: shardId(0), uid: '0'.repeat(32), generation: 0, voters }],
    members,
    rules: [],
  };
}

const exclude = (map: ShardMap, member: string, cancel = false): ShardMap | undefined =>
  changeMembers(map, { kind: 'exclude', member, cancel });

describe('giving up a member’s disk', () => {
  it('stands in the map until it is taken back, and survives the map’s form', () => {
    const given = exclude(mapOf(3), 'm2');
    expect(given?.members.map(({ logExcluded }) => logExcluded === true)).toEqual([
      false,
      true,
      false,
    ]);
    if (given === undefined) throw new RangeError('changed');
    expect(exclude(given, 'm2')).toBeUndefined();
    const parsed = parseShardMap(JSON.parse(JSON.stringify(given)));
    expect(parsed.ok && parsed.value.members[1]?.logExcluded).toBe(true);
    expect(exclude(given, id(2), true)).toEqual(mapOf(3));
    expect(exclude(mapOf(3), 'm2', true)).toBeUndefined();
  });

  it('is refused where fewer than a majority of the voters would count', () => {
    expect(() => exclude(mapOf(1), 'm1')).toThrow('no majority of the voters of shard 0');
    expect(() => exclude(mapOf(2), 'm1')).toThrow('no majority');
    const one = exclude(mapOf(3), 'm1');
    if (one === undefined) throw new RangeError('changed');
    expect(() => exclude(one, 'm2')).toThrow('no majority');
    expect(() => exclude(mapOf(3), 'm9')).toThrow('no member m9');
  });
});
