import { logOffset } from '@kvorum/base';
import type { ReplicaStatus } from '@kvorum/replica';
import type { SimMember, World } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';
import {
  cluster,
  errorOf,
  expectEqualHashes,
  outcome,
  put,
  query,
  read,
  replicaOf,
  revisionOf,
  SHARD,
  settled,
  submit,
  Watcher,
  write,
} from './support.ts';

const SESSION = { clientId: 'c'.repeat(32), seq: 1, ackedThrough: 0, retry: false };

const statusOf = (world: World, member: SimMember): ReplicaStatus =>
  replicaOf(world, member).status();

async function awaitHalts(world: World, members: readonly SimMember[]): Promise<void> {
  const halted = (): boolean =>
    members.every((member) => statusOf(world, member).raft.halted !== undefined);
  expect(await world.runUntil(halted)).toBe(true);
}

/** All replicas follow generation `generation`, with one content. */
async function awaitRecovered(world: World, generation: number): Promise<SimMember> {
  const follows = (): boolean =>
    world.members.every((member) => {
      const status = member.replica(SHARD)?.status();
      const { raft, phase } = status ?? {};
      return phase === 'following' && raft?.accepted.generation === generation;
    });
  expect(await world.runUntil(follows)).toBe(true);
  const leader = await world.awaitLeader(SHARD);
  await write(world, leader, put('after', String(generation)));
  await expectEqualHashes(world);
  return leader;
}

function others(world: World, member: SimMember): [SimMember, SimMember] {
  const [one, two] = world.members.filter((other) => other !== member);
  if (one === undefined || two === undefined) throw new Error('three members');
  return [one, two];
}

/** The log loses its last records; a member that was away has not seen it either. */
async function loseTail(
  world: World,
  leader: SimMember,
  away: SimMember,
): Promise<{ readonly before: number }> {
  for (let i = 0; i < 5; i += 1) await write(world, leader, put(`k${i}`, 'old'));
  await world.run(500);
  away.crash();
  await write(world, leader, put('k0', 'new'));
  const before = await write(world, leader, put('k1', 'new'));
  await world.run(500);
  const { end } = world.broker.bounds(world.logName(SHARD)) ?? { end: 0 };
  world.broker.rewriteTail(world.logName(SHARD), logOffset(end - 2));
  submit(world, leader, put('k2', 'too late'));
  return { before };
}

describe('a shard that has lost its log goes on in a new generation', () => {
  it('after an unclean election: everything the chosen replica holds is there', async () => {
    const { world, leader } = await cluster();
    const [other, away] = others(world, leader);
    const { before } = await loseTail(world, leader, away);
    await awaitHalts(world, [leader, other]);
    world.recover(SHARD, leader);
    away.start();
    const next = await awaitRecovered(world, 1);
    expect(await read(world, next, 'k1')).toBe('new');
    expect(await read(world, away, 'k0')).toBe('new');
    expect(world.logName(SHARD)).toMatch(/\.g1$/);
    expect(statusOf(world, next).revision).toBeGreaterThan(before + 1_000_000_000);
  });

  it('from a replica that holds less: what the others had more is gone from all of them', async () => {
    const { world, leader } = await cluster();
    const [other, away] = others(world, leader);
    await loseTail(world, leader, away);
    await awaitHalts(world, [leader, other]);
    world.broker.deleteLog(world.logName(SHARD));
    away.start();
    expect(await world.runUntil(() => away.replica(SHARD) !== undefined)).toBe(true);
    world.recover(SHARD, away);
    const next = await awaitRecovered(world, 1);
    expect(await read(world, next, 'k0')).toBe('old');
    expect(await read(world, next, 'k1')).toBe('old');
    const same = [leader, other].map((member) => statusOf(world, member).raft.accepted.index);
    expect(new Set([...same, statusOf(world, away).raft.accepted.index]).size).toBe(1);
  });

  it('after its topic was deleted and made anew', async () => {
    const { world, leader } = await cluster();
    for (let i = 0; i < 10; i += 1) await write(world, leader, put(`k${i}`, 'v'));
    await world.run(500);
    world.broker.deleteLog(world.logName(SHARD));
    world.broker.createLog(world.logName(SHARD));
    submit(world, leader, put('k', 'too late'));
    await awaitHalts(world, world.members);
    world.recover(SHARD, leader);
    const next = await awaitRecovered(world, 1);
    expect(await read(world, next, 'k9')).toBe('v');
  });

  it('after its topic was truncated above what anybody holds', async () => {
    const { world, leader } = await cluster();
    for (let i = 0; i < 10; i += 1) await write(world, leader, put(`k${i}`, 'v'));
    await world.run(500);
    const name = world.logName(SHARD);
    for (const member of world.members) member.crash();
    const { end } = world.broker.bounds(name) ?? { end: 0 };
    for (let i = 0; i < 3; i += 1) world.broker.log(name).land(new Uint8Array([i]));
    world.broker.truncateHead(name, logOffset(end + 3));
    for (const member of world.members) member.start();
    expect(await world.runUntil(() => world.members.every((one) => one.replica(SHARD)))).toBe(true);
    await awaitHalts(world, world.members);
    expect(statusOf(world, leader).raft.halted?.reason).toBe('log-start-passed');
    world.recover(SHARD, leader);
    const next = await awaitRecovered(world, 1);
    expect(await read(world, next, 'k9')).toBe('v');
  });

  it('without a member that is away: it follows on its return, also over two recoveries', async () => {
    const { world, leader } = await cluster();
    const [other, away] = others(world, leader);
    await loseTail(world, leader, away);
    await awaitHalts(world, [leader, other]);
    world.recover(SHARD, other);
    expect(await world.runUntil(() => world.leader(SHARD) !== undefined)).toBe(true);
    const first = await world.awaitLeader(SHARD);
    await write(world, first, put('between', 'both'));
    world.recover(SHARD, first);
    const second = await world.awaitLeader(SHARD);
    await write(world, second, put('second', 'yes'));
    away.start();
    const last = await awaitRecovered(world, 2);
    expect(await read(world, last, 'between')).toBe('both');
    expect(await read(world, away, 'second')).toBe('yes');
  });
});

describe('while a shard is recovered', () => {
  it('a leader of the old generation neither commits nor confirms reads with those that have gone on', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('k', 'old'));
    await world.run(500);
    const [other, third] = others(world, leader);
    world.recover(SHARD, other, [leader]);
    const led = (): boolean =>
      [other, third].some((member) => member.replica(SHARD)?.status().raft.role === 'leader');
    expect(await world.runUntil(led)).toBe(true);
    // Alone in the old generation it hears no majority, and steps down.
    expect(await world.runUntil(() => statusOf(world, leader).raft.role === 'follower')).toBe(true);
    const late = await query(world, leader, {
      op: 'range',
      key: new TextEncoder().encode('k'),
    });
    expect(late.ok).toBe(false);
    leader.reopen(SHARD);
    await awaitRecovered(world, 1);
  });

  it('watches end as compacted instead of going on over what was lost; sessions are kept', async () => {
    const { world, leader } = await cluster();
    const first = await settled(
      world,
      submit(world, leader, put('once', '1'), { session: SESSION }),
    );
    const [other, away] = others(world, leader);
    const { before } = await loseTail(world, leader, away);
    await awaitHalts(world, [leader, other]);
    world.recover(SHARD, other);
    away.start();
    const next = await awaitRecovered(world, 1);
    const key = new TextEncoder().encode('k0');
    const watcher = new Watcher(world, next, { key, startRevision: before + 1 });
    expect(await world.runUntil(() => watcher.cancelled !== undefined)).toBe(true);
    expect(watcher.cancelled?.code).toBe('KV_COMPACTED');
    const again = submit(world, next, put('once', '1'), { session: { ...SESSION, retry: true } });
    expect(revisionOf(await settled(world, again))).toBe(revisionOf(first));
  });

  it('the chosen replica may die at any moment', async () => {
    for (let effects = 1; effects <= 12; effects += 1) {
      const { world, leader } = await cluster({ seed: effects });
      const [other, away] = others(world, leader);
      await loseTail(world, leader, away);
      await awaitHalts(world, [leader, other]);
      away.start();
      expect(await world.runUntil(() => away.replica(SHARD) !== undefined)).toBe(true);
      // What an operator's command does first: the chosen state is synced.
      await outcome(world, replicaOf(world, leader).recoveryReport());
      let died = false;
      leader.crashAt(
        effects,
        () => 0,
        () => {
          died = true;
        },
      );
      world.recover(SHARD, leader);
      await world.runUntil(() => died, 5000);
      leader.spare();
      if (!leader.running) leader.start();
      const next = await awaitRecovered(world, 1);
      expect(await read(world, next, 'k1')).toBe('new');
    }
  });

  it('an append of the genesis whose answer is lost is done again, and the first one decides', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('k', 'v'));
    await world.run(500);
    world.broker.createLog('raft-log-0.g1');
    world.broker.failNextAppend('raft-log-0.g1', { kind: 'late', delayMs: 700 });
    world.broker.failNextAppend('raft-log-0.g1', { kind: 'duplicate' });
    world.recover(SHARD, leader);
    const next = await awaitRecovered(world, 1);
    expect(await read(world, next, 'k')).toBe('v');
    expect(world.alarms).toEqual([]);
  });

  it('a replica that holds less than it was chosen for begins nothing', async () => {
    const { world, leader } = await cluster();
    await write(world, leader, put('k', 'v'));
    await world.run(500);
    const [other] = others(world, leader);
    world.recover(SHARD, other);
    other.crash();
    other.wipe();
    other.start();
    expect(await world.runUntil(() => other.replica(SHARD) !== undefined)).toBe(true);
    await awaitHalts(world, [other]);
    const refused = submit(world, other, put('k', 'w'));
    expect(errorOf(await settled(world, refused)).code).toBe('KV_HALTED');
    world.recover(SHARD, leader);
    const next = await awaitRecovered(world, 2);
    expect(await read(world, next, 'k')).toBe('v');
  });
});
