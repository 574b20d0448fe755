import type { AutoCompactionPolicy } from '@kvorum/replica';
import type { SimMember, World } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';
import { type AutoCompactionView, compactionTarget } from '../src/auto-compaction.ts';
import { cluster, expectEqualHashes, put, replicaOf, SHARD, write } from './support.ts';

const HOUR_MS = 3_600_000;

function compactRevision(world: World, member: SimMember): number {
  return replicaOf(world, member).status().compactRevision;
}

async function writeSome(world: World, member: SimMember, count: number): Promise<number> {
  let last = 0;
  for (let i = 0; i < count; i += 1) last = await write(world, member, put('k', `${i}`));
  return last;
}

describe('the decision', () => {
  const view: AutoCompactionView = {
    revision: 1000,
    compactRevision: -1,
    expiredRevision: undefined,
    sinceMs: 0,
  };
  const target = (policy: AutoCompactionPolicy, change: Partial<AutoCompactionView>) =>
    compactionTarget(policy, { ...view, ...change });

  it('by age: the newest revision that is old enough, if it is ahead', () => {
    const policy = { mode: 'periodic', retentionMs: HOUR_MS } as const;
    expect(target(policy, {})).toBeUndefined();
    expect(target(policy, { expiredRevision: 400 })).toBe(400);
    expect(target(policy, { expiredRevision: 400, compactRevision: 400 })).toBeUndefined();
    expect(target(policy, { expiredRevision: 400, compactRevision: 500 })).toBeUndefined();
    expect(target(policy, { revision: 1, expiredRevision: 1 })).toBeUndefined();
  });

  it('by count: with slack, so that not every write compacts; after five minutes without', () => {
    const policy = { mode: 'revision', retention: 100 } as const;
    expect(target(policy, { compactRevision: 890 })).toBeUndefined();
    expect(target(policy, { compactRevision: 889 })).toBe(900);
    expect(target(policy, { compactRevision: 899, sinceMs: 300_000 })).toBe(900);
    expect(target(policy, { compactRevision: 900, sinceMs: 300_000 })).toBeUndefined();
    expect(target(policy, { revision: 100, sinceMs: 300_000 })).toBeUndefined();
  });
});

describe('compaction by age', () => {
  const autoCompaction = { mode: 'periodic', retentionMs: 10_000 } as const;

  it('keeps what is younger than the retention, on every replica alike', async () => {
    const { world, leader } = await cluster({ autoCompaction });
    const old = await writeSome(world, leader, 5);
    await world.run(8000);
    expect(compactRevision(world, leader)).toBe(-1);
    await writeSome(world, leader, 5);
    await world.run(4500);
    for (const member of world.members) expect(compactRevision(world, member)).toBe(old);
    await expectEqualHashes(world);
  });

  it('catches up with a shard that is written no more, then logs nothing', async () => {
    const { world, leader } = await cluster({ autoCompaction });
    const last = await writeSome(world, leader, 5);
    await world.run(13_000);
    expect(compactRevision(world, leader)).toBe(last);
    const { appliedIndex } = replicaOf(world, leader).status();
    await world.run(60_000);
    expect(replicaOf(world, leader).status().appliedIndex).toBe(appliedIndex);
  });

  it('goes on after a failover with the age of what the old leader wrote', async () => {
    const { world, leader } = await cluster({ autoCompaction });
    const old = await writeSome(world, leader, 5);
    await world.run(7000);
    const young = await writeSome(world, leader, 5);
    leader.crash();
    const next = await world.awaitLeader(SHARD);
    expect(next).not.toBe(leader);
    // Written by the new leader: the state's newest time no longer tells the age of the old history.
    await writeSome(world, next, 1);
    await world.run(4500);
    expect(compactRevision(world, next)).toBe(old);
    expect(compactRevision(world, next)).toBeLessThan(young);
  });

  it('knows the age of history after all members were restarted', async () => {
    const { world, leader } = await cluster({ autoCompaction });
    const old = await writeSome(world, leader, 5);
    await world.run(7000);
    await writeSome(world, leader, 5);
    for (const member of world.members) member.crash();
    for (const member of world.members) member.start();
    const next = await world.awaitLeader(SHARD);
    await writeSome(world, next, 1);
    await world.run(5500);
    expect(compactRevision(world, next)).toBe(old);
  });
});

describe('compaction by count', () => {
  it('keeps the newest revisions, and at most a tenth more', async () => {
    const autoCompaction = { mode: 'revision', retention: 20 } as const;
    const { world, leader } = await cluster({ autoCompaction });
    const last = await writeSome(world, leader, 60);
    await world.run(3000);
    const at = compactRevision(world, leader);
    expect(at).toBeLessThanOrEqual(last - 20);
    expect(at).toBeGreaterThanOrEqual(last - 23);
  });
});

describe('without a policy', () => {
  it('keeps everything', async () => {
    const { world, leader } = await cluster();
    await writeSome(world, leader, 5);
    await world.run(HOUR_MS / 60);
    expect(compactRevision(world, leader)).toBe(-1);
  });
});
