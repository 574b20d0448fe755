import type { Limits } from '@kvorum/base';
import type { SimMember, World, WorldOptions } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';
import {
  cluster,
  errorOf,
  expectEqualHashes,
  put,
  query,
  read,
  replicaOf,
  SHARD,
  settled,
  submit,
  Watcher,
  write,
} from './support.ts';

/** Everything at once and nothing kept: what a test need not wait for. */
const EAGER: Partial<Limits> = {
  durableMs: 100,
  truncateMs: 200,
  truncateSlackRecords: 0,
  truncateSlackBytes: 0,
  truncateSlackMs: 0,
  snapshotChunkBytes: 200,
};

async function eagerCluster(options: Partial<WorldOptions> = {}): Promise<{
  readonly world: World;
  readonly leader: SimMember;
  readonly other: SimMember;
  readonly victim: SimMember;
}> {
  const { world, leader } = await cluster({ ...options, limits: { ...EAGER, ...options.limits } });
  const [other, victim] = world.members.filter((member) => member !== leader);
  if (other === undefined || victim === undefined) throw new Error('three members');
  return { world, leader, other, victim };
}

async function writeMany(world: World, member: SimMember, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await write(world, member, put(`k${i % 7}`, `v${i}`));
}

function logStart(world: World): number {
  return world.broker.bounds(world.logName(SHARD))?.start ?? 0;
}

/** The victim is away, and the log goes on without it. */
async function leaveBehind(world: World, leader: SimMember, victim: SimMember): Promise<void> {
  await writeMany(world, leader, 10);
  victim.crash();
  replicaOf(world, leader).excludeFromTruncation([victim.id]);
  await writeMany(world, leader, 20);
  await world.run(2000);
  expect(logStart(world)).toBeGreaterThan(15);
}

const phaseOf = (world: World, member: SimMember): string =>
  replicaOf(world, member).status().phase;

describe('truncation', () => {
  it('deletes what every voter holds synced, and no more than the slack allows', async () => {
    const { world, leader } = await eagerCluster({ limits: { truncateSlackRecords: 5 } });
    await writeMany(world, leader, 20);
    await world.run(1000);
    const { accepted } = replicaOf(world, leader).status().raft;
    expect(logStart(world)).toBeGreaterThan(accepted.lastOffset - 10);
    expect(logStart(world)).toBeLessThanOrEqual(accepted.lastOffset - 4);
    await expectEqualHashes(world);
  });

  it('waits for a voter that is away, until an operator gives it up', async () => {
    const { world, leader, victim } = await eagerCluster();
    await writeMany(world, leader, 5);
    await world.run(1000);
    victim.crash();
    const before = logStart(world);
    await writeMany(world, leader, 20);
    await world.run(1000);
    expect(logStart(world)).toBeLessThanOrEqual(before + 1);
    replicaOf(world, leader).excludeFromTruncation([victim.id]);
    await world.run(1000);
    expect(logStart(world)).toBeGreaterThan(before + 15);
    expect(replicaOf(world, leader).status().truncation.excluded).toEqual([victim.id]);
  });

  it('keeps everything when those given up are no minority', async () => {
    const { world, leader, other, victim } = await eagerCluster();
    await writeMany(world, leader, 5);
    await world.run(1000);
    victim.crash();
    const before = logStart(world);
    replicaOf(world, leader).excludeFromTruncation([victim.id, other.id]);
    await writeMany(world, leader, 20);
    await world.run(1000);
    expect(logStart(world)).toBeLessThanOrEqual(before + 1);
  });
});

describe('a replica that the log’s start has passed', () => {
  it('installs a snapshot and follows, with the same content as the others', async () => {
    const { world, leader, victim } = await eagerCluster();
    await leaveBehind(world, leader, victim);
    victim.start();
    expect(await world.runUntil(() => victim.replica(SHARD) !== undefined)).toBe(true);
    expect(await world.runUntil(() => phaseOf(world, victim) === 'installing')).toBe(true);
    expect(await world.runUntil(() => phaseOf(world, victim) === 'following')).toBe(true);
    await writeMany(world, leader, 3);
    await world.run(200);
    expect(await read(world, victim, 'k0')).toBeDefined();
    await expectEqualHashes(world);
    expect(world.alarms).toEqual([]);
  });

  it('begins from nothing when its disk was replaced', async () => {
    const { world, leader, victim } = await eagerCluster();
    await leaveBehind(world, leader, victim);
    victim.wipe();
    victim.start();
    await world.run(3000);
    expect(phaseOf(world, victim)).toBe('following');
    await expectEqualHashes(world);
  });

  it('serves nobody before, and sends clients to the leader', async () => {
    const { world, leader, other, victim } = await eagerCluster();
    await leaveBehind(world, leader, victim);
    for (const source of [leader, other]) {
      world.network.setFaults(source.id, victim.id, { delayMsMin: 0, delayMsMax: 50 });
    }
    victim.start();
    expect(await world.runUntil(() => victim.replica(SHARD) !== undefined)).toBe(true);
    expect(await world.runUntil(() => phaseOf(world, victim) === 'installing')).toBe(true);
    await world.runUntil(() => replicaOf(world, victim).status().raft.leader !== undefined);
    expect(phaseOf(world, victim)).toBe('installing');
    const key = new Uint8Array([0x6b]);
    const stale = await query(world, victim, { op: 'range', key, serializable: true });
    expect(errorOf(stale).code).toBe('KV_NOT_LEADER');
    const refused = errorOf(await settled(world, submit(world, victim, put('a', '1'))));
    expect(refused.code).toBe('KV_NOT_LEADER');
    const watch = new Watcher(world, victim, { key });
    await world.run(0);
    expect(watch.cancelled?.code).toBe('KV_NOT_LEADER');
  });

  it('goes on where it stood when the connection breaks, and when it is killed', async () => {
    const { world, leader, victim } = await eagerCluster({
      limits: { snapshotBytesPerSecond: 2000 },
    });
    await leaveBehind(world, leader, victim);
    victim.start();
    const received = (): number => victim.replica(SHARD)?.status().install?.receivedBytes ?? 0;
    expect(await world.runUntil(() => received() > 600)).toBe(true);
    const source = replicaOf(world, victim).status().install?.source;
    for (const member of world.members) {
      if (member !== victim) world.network.cut(member.id, victim.id);
    }
    await world.run(1000);
    world.network.heal();
    const before = received();
    expect(await world.runUntil(() => received() > before)).toBe(true);
    victim.crash();
    victim.start();
    expect(await world.runUntil(() => received() > before)).toBe(true);
    expect(replicaOf(world, victim).status().install?.source).toBe(source);
    expect(await world.runUntil(() => phaseOf(world, victim) === 'following')).toBe(true);
    await expectEqualHashes(world);
    expect(world.alarms).toEqual([]);
  });

  it('takes another source when the first one is gone', async () => {
    const { world, leader, victim } = await eagerCluster({
      limits: { snapshotBytesPerSecond: 2000 },
    });
    await leaveBehind(world, leader, victim);
    victim.start();
    const source = (): SimMember | undefined => {
      const install = victim.replica(SHARD)?.status().install;
      const from = (install?.receivedBytes ?? 0) > 400 ? install?.source : undefined;
      return world.members.find((member) => member.id === from);
    };
    expect(await world.runUntil(() => source() !== undefined)).toBe(true);
    const first = source();
    first?.crash();
    expect(await world.runUntil(() => phaseOf(world, victim) === 'following', 120_000)).toBe(true);
    first?.start();
    await world.awaitLeader(SHARD);
    await world.run(2000);
    await expectEqualHashes(world);
  });

  it('pins the log while a snapshot leaves, whoever gives it', async () => {
    const { world, leader, victim } = await eagerCluster({
      limits: { snapshotBytesPerSecond: 500, snapshotIdleMs: 1000 },
    });
    await leaveBehind(world, leader, victim);
    victim.start();
    const status = () => victim.replica(SHARD)?.status();
    expect(await world.runUntil(() => (status()?.install?.receivedBytes ?? 0) > 0)).toBe(true);
    await world.run(300);
    const pinned = replicaOf(world, leader).status().raft.accepted.offset;
    await writeMany(world, leader, 30);
    await world.run(500);
    expect(status()?.phase).toBe('installing');
    expect(logStart(world)).toBeLessThanOrEqual(pinned);
    expect(await world.runUntil(() => status()?.phase === 'following')).toBe(true);
    await world.run(3000);
    expect(logStart(world)).toBeGreaterThan(pinned);
    await expectEqualHashes(world);
  });

  it('halts when every other voter says that it does not hold what is missing', async () => {
    const { world, leader } = await eagerCluster();
    await writeMany(world, leader, 10);
    await world.run(500);
    for (const member of world.members) member.crash();
    for (const member of world.members) member.wipe();
    for (const member of world.members) member.start();
    await world.run(5000);
    const halts = world.members.map(
      (member) => replicaOf(world, member).status().raft.halted?.reason,
    );
    expect(halts).toEqual(['log-start-passed', 'log-start-passed', 'log-start-passed']);
  });
});

describe('installFrom', () => {
  it('begins anew from the given peer and keeps the own term and vote', async () => {
    const { world, leader, other } = await eagerCluster();
    await writeMany(world, leader, 10);
    const { term } = replicaOf(world, other).status().raft;
    replicaOf(world, other).installFrom(leader.id);
    expect(await world.runUntil(() => phaseOf(world, other) === 'following')).toBe(true);
    await world.run(200);
    expect(replicaOf(world, other).status().raft.term).toBe(term);
    await write(world, leader, put('after', '1'));
    expect(await read(world, other, 'after')).toBe('1');
    await expectEqualHashes(world);
  });
});
