import { isKvError, shardId } from '@kvorum/base';
import {
  changeMembers,
  initialShardMap,
  keepInitialVoters,
  type MemberEntry,
  moveReplica,
  placeReplicas,
  registerDisk,
  type ShardMap,
} from '@kvorum/shard';
import { describe, expect, it } from 'vitest';

const idOf = (n: number): string => n.toString(16).padStart(16, '0');
const member = (n: number, rest: Partial<MemberEntry> = {}): MemberEntry => ({
  id: idOf(n),
  name: `m${n}`,
  peer: `h${n}:2380`,
  client: `h${n}:2379`,
  ...rest,
});

function mapOf(members: readonly MemberEntry[], shardCount: number, replicas: number): ShardMap {
  const map = initialShardMap({
    clusterId: idOf(99),
    shardCount,
    members,
    rules: [],
    replicas: replicas === 0 ? members.length : replicas,
    uids: Array.from({ length: shardCount }, (_, i) => i.toString(16).padStart(32, '0')),
    metaUid: 'f'.repeat(32),
  });
  return placeReplicas({ ...map, replicas });
}

const count = (n: number): MemberEntry[] => Array.from({ length: n }, (_, i) => member(i + 1));

function loads(map: ShardMap): readonly number[] {
  const data = map.shards.filter(({ id }) => id !== 'meta');
  return map.members.map(({ id }) => data.filter(({ voters }) => voters.includes(id)).length);
}

const votersOf = (map: ShardMap, shard: string): readonly string[] =>
  (map.shards.find(({ id }) => id === shard)?.voters ?? []).map((id) => `m${Number(`0x${id}`)}`);

describe('placement of replicas', () => {
  it('changes nothing twice', () => {
    for (const [members, shards, replicas] of [
      [3, 4, 0],
      [5, 8, 3],
      [7, 16, 3],
      [4, 3, 2],
    ] as const) {
      const map = mapOf(count(members), shards, replicas);
      expect(placeReplicas(map)).toEqual(map);
    }
  });

  it('spreads three replicas of every shard over five members evenly', () => {
    let map: ShardMap = mapOf(count(3), 10, 3);
    for (const n of [4, 5]) map = changeMembers(map, { kind: 'add', member: member(n) }) ?? map;
    expect(loads(map).reduce((a, b) => a + b)).toBe(30);
    expect(Math.max(...loads(map)) - Math.min(...loads(map))).toBeLessThanOrEqual(1);
  });

  it('moves no more than it must when a member comes', () => {
    const before = mapOf(count(3), 10, 3);
    const after = changeMembers(before, { kind: 'add', member: member(4) }) ?? before;
    const moved = after.shards.filter(
      ({ voters }, i) => voters.join() !== before.shards[i]?.voters.join(),
    );
    // 30 replicas over 4: at most 8 for the new one, and the meta group.
    expect(moved.length).toBeLessThanOrEqual(9);
  });

  it('puts the replicas of a shard into different zones while there are enough', () => {
    const zones = ['a', 'a', 'b', 'b', 'c', 'c'];
    const members = zones.map((zone, i) => member(i + 1, { zone }));
    const map = mapOf(members, 12, 3);
    for (const { id, voters } of map.shards.filter((one) => one.id !== 'meta')) {
      const places = voters.map((voter) => members.find((one) => one.id === voter)?.zone);
      expect([id, new Set(places).size]).toEqual([id, 3]);
    }
  });

  it('leaves a drained member nothing where there are others, and all where there are none', () => {
    const four = changeMembers(mapOf(count(4), 8, 3), {
      kind: 'drain',
      member: 'm2',
      cancel: false,
    });
    expect(loads(four ?? mapOf([], 1, 1))[1]).toBe(0);
    const three = mapOf(count(3), 8, 3);
    const drained = changeMembers(three, { kind: 'drain', member: 'm2', cancel: false }) ?? three;
    expect(loads(drained)[1]).toBe(8);
    const back = changeMembers(drained, { kind: 'drain', member: 'm2', cancel: true });
    expect(back?.members[1]?.state).toBe('active');
  });

  it('takes a removed member out of every shard, never below one voter', () => {
    let map = mapOf(count(3), 4, 0);
    for (const name of ['m1', 'm2']) {
      map = changeMembers(map, { kind: 'remove', member: name }) ?? map;
    }
    expect(map.shards.map(({ voters }) => voters)).toEqual(Array(5).fill([idOf(3)]));
    expect(() => changeMembers(map, { kind: 'remove', member: 'm3' })).toThrow(/last member/);
  });
});

describe('changes of members', () => {
  const map = mapOf(count(3), 2, 0);

  it('replace one by a successor with exactly its replicas', () => {
    const next = changeMembers(map, {
      kind: 'replace',
      member: 'm2',
      by: member(7, { name: 'm2' }),
    });
    expect(next?.shards.every(({ voters }) => voters.includes(idOf(7)))).toBe(true);
    expect(next?.members.map(({ name, state }) => [name, state])).toEqual([
      ['m1', undefined],
      ['m2', 'leaving'],
      ['m3', undefined],
      ['m2', undefined],
    ]);
  });

  it('keep who voted first', () => {
    const next = changeMembers(map, { kind: 'add', member: member(4) }) ?? map;
    const kept = keepInitialVoters(map, next);
    expect(kept.shards.map(({ initialVoters }) => initialVoters)).toEqual(
      Array(3).fill(expect.arrayContaining(map.members.map(({ id }) => id))),
    );
    expect(votersOf(kept, '0')).toHaveLength(4);
  });

  it.each([
    ['a name twice', () => changeMembers(map, { kind: 'add', member: member(9, { name: 'm1' }) })],
    [
      'an address twice',
      () => changeMembers(map, { kind: 'add', member: member(9, { peer: 'h1:2380' }) }),
    ],
    ['nobody', () => changeMembers(map, { kind: 'remove', member: 'm9' })],
    [
      'a replica to where one is',
      () => moveReplica(map, { shard: shardId(0), from: 'm1', to: 'm2' }),
    ],
  ])('refuse %s', (_name, change) => {
    expect(change).toThrow(expect.toSatisfy(isKvError));
  });

  it('register a disk once', () => {
    const disk = { member: idOf(1), diskId: 'a'.repeat(32), force: false };
    const next = registerDisk(map, disk) ?? map;
    expect(registerDisk(next, disk)).toBeUndefined();
    const other = { ...disk, diskId: 'b'.repeat(32) };
    expect(() => registerDisk(next, other)).toThrow(/has another disk than the one registered/);
    expect(registerDisk(next, { ...other, force: true })?.members[0]?.diskId).toBe('b'.repeat(32));
  });
});
