import { type SimMember, World } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';
import { put, replicaOf, SHARD, settled, submit, write } from './support.ts';

const votersOf = (world: World, member: SimMember): readonly string[] =>
  replicaOf(world, member)
    .status()
    .raft.voters.map((id) => `m${id}`);

const hasVoters = (world: World, names: readonly string[]): boolean => {
  const leader = world.leader(SHARD);
  if (leader === undefined) return false;
  const { raft } = replicaOf(world, leader).status();
  return raft.role === 'leader' && [...votersOf(world, leader)].sort().join() === names.join();
};

async function grown(members: number, voters: number): Promise<World> {
  const world = new World({ seed: 7, members, voters });
  world.start();
  await world.awaitLeader(SHARD);
  return world;
}

const at = (world: World, index: number): SimMember => {
  const member = world.members[index];
  if (member === undefined) throw new Error(`no member ${index}`);
  return member;
};

describe('membership', () => {
  it('grows from three voters to five, one at a time, while it is written', async () => {
    const world = await grown(5, 3);
    world.want(SHARD, world.members);
    let answered = 0;
    const sizes: number[] = [];
    for (let round = 0; round < 60; round += 1) {
      const leader = world.leader(SHARD) ?? (await world.awaitLeader(SHARD));
      const result = await settled(world, submit(world, leader, put(`k${round}`, 'v')));
      if (result.ok) answered += 1;
      const size = votersOf(world, leader).length;
      if (sizes.at(-1) !== size) sizes.push(size);
      await world.run(20);
    }
    expect(sizes).toEqual([3, 4, 5]);
    expect(answered).toBe(60);
    expect(hasVoters(world, ['m1', 'm2', 'm3', 'm4', 'm5'])).toBe(true);
    expect(world.alarms).toEqual([]);
  });

  it('replaces a dead voter: the new one votes before the old one goes', async () => {
    const world = await grown(4, 3);
    const leader = await world.awaitLeader(SHARD);
    const dead = world.members.slice(0, 3).find((member) => member !== leader);
    dead?.crash();
    const kept = world.members.filter((member) => member !== dead);
    world.want(SHARD, kept);
    const names = kept.map(({ name }) => name);
    expect(await world.runUntil(() => hasVoters(world, names))).toBe(true);
    await write(world, await world.awaitLeader(SHARD), put('a', '1'));
  });

  it('hands leadership over before the leader is removed, and none of its writes fails', async () => {
    const world = await grown(4, 3);
    const leader = await world.awaitLeader(SHARD);
    const kept = world.members.filter((member) => member !== leader);
    await write(world, leader, put('a', '1'));
    world.want(SHARD, kept);
    const names = kept.map(({ name }) => name);
    expect(await world.runUntil(() => hasVoters(world, names))).toBe(true);
    await world.run(500);
    expect(replicaOf(world, leader).status().raft.role).toBe('follower');
    // It follows on until its member closes it, but nobody counts it any more.
    for (const member of [at(world, 3), leader]) {
      const { raft } = replicaOf(world, member).status();
      expect(raft.voters.includes(leader.id)).toBe(false);
    }
    await write(world, await world.awaitLeader(SHARD), put('b', '2'));
  });

  it('waits for a learner that has not caught up', async () => {
    const world = await grown(4, 3);
    const late = at(world, 3);
    late.crash();
    world.want(SHARD, world.members);
    await world.run(5000);
    const leader = await world.awaitLeader(SHARD);
    expect(replicaOf(world, leader).status().raft).toMatchObject({
      voters: world.voters.map(({ id }) => id),
      learners: [late.id],
    });
    late.start();
    const names = world.members.map(({ name }) => name);
    expect(await world.runUntil(() => hasVoters(world, names))).toBe(true);
  });

  it('removes no voter whose going would leave no live majority', async () => {
    const world = await grown(3, 3);
    const leader = await world.awaitLeader(SHARD);
    const [dead, other] = world.members.filter((member) => member !== leader);
    dead?.crash();
    await world.run(3000);
    world.want(SHARD, dead === undefined ? [] : [leader, dead]);
    await world.run(3000);
    expect(hasVoters(world, ['m1', 'm2', 'm3'])).toBe(true);
    dead?.start();
    const names = world.members.filter((member) => member !== other).map(({ name }) => name);
    expect(await world.runUntil(() => hasVoters(world, names))).toBe(true);
  });

  it('is remembered over a restart of all members', async () => {
    const world = await grown(4, 3);
    world.want(SHARD, world.members);
    const names = world.members.map(({ name }) => name);
    expect(await world.runUntil(() => hasVoters(world, names))).toBe(true);
    await write(world, await world.awaitLeader(SHARD), put('a', '1'));
    await world.run(500);
    for (const member of world.members) member.crash();
    world.start();
    expect(await world.runUntil(() => hasVoters(world, names))).toBe(true);
    const { raft } = replicaOf(world, await world.awaitLeader(SHARD)).status();
    expect(raft.configIndex).toBeGreaterThan(0);
  });

  it('does not press a log that refuses the record', async () => {
    const world = await grown(4, 3);
    const leader = await world.awaitLeader(SHARD);
    await world.run(500);
    world.broker.setUnavailable(true, leader.name);
    // Asked again at once, it would refuse again at once, and time would never go on.
    world.want(SHARD, world.members);
    await world.run(1000);
    world.broker.setUnavailable(false, leader.name);
    const names = world.members.map(({ name }) => name);
    expect(await world.runUntil(() => hasVoters(world, names))).toBe(true);
  });
});
