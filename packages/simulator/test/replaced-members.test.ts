import { shardId } from '@kvorum/base';
import { runSeed, type SimMember, World } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';

const SHARD = shardId(0);

async function write(world: World, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const leader = await world.awaitLeader(SHARD);
    const key = new Uint8Array([0x61 + (i % 20)]);
    world.replica(leader, SHARD).submit({
      request: { op: 'put', key, value: key },
      session: undefined,
      deadlineMs: leader.nowMs() + 5000,
      bytes: 1,
      done: () => undefined,
    });
    await world.run(100);
  }
}

function isPlaced(world: World): boolean {
  const leader = world.leader(SHARD);
  const status = leader?.replica(SHARD)?.status();
  const wanted = world.wanted.get(SHARD)?.voters ?? [];
  const voters = status?.raft.voters ?? [];
  return (
    voters.length === wanted.length &&
    wanted.every((id) => voters.includes(id)) &&
    world.members.every(
      (member) => member.replica(SHARD)?.status().appliedIndex === status?.appliedIndex,
    )
  );
}

async function replace(world: World, member: SimMember): Promise<void> {
  member.crash();
  world.replace(member);
  member.start();
  expect(await world.runUntil(() => isPlaced(world), 60_000), `${member.name} is back`).toBe(true);
}

describe('members that lose their disks', () => {
  it('are replaced one after another, twice, while the log is truncated', async () => {
    const limits = {
      durableMs: 100,
      truncateMs: 100,
      truncateSlackRecords: 0,
      truncateSlackBytes: 0,
      truncateSlackMs: 0,
    };
    const world = new World({ seed: 1, members: 3, limits });
    world.start();
    await world.awaitLeader(SHARD);
    for (const member of [...world.members, ...world.members]) {
      await write(world, 5);
      await world.run(1000);
      // The second time around nobody is left whom a new replica knows from the shard's creation.
      await replace(world, member);
    }
    const start = world.broker.bounds(world.logName(SHARD))?.start ?? 0;
    expect(start).toBeGreaterThan(0);
    await world.stop();
  });

  // 520138: the only voter of a truncated log was nobody that its successor knew.
  it.each([520_095, 520_138])('seed %i', async (seed) => {
    const { problems } = await runSeed(seed, { crossCheck: true });
    expect(problems.map(({ invariant, text }) => `[${invariant}] ${text}`)).toEqual([]);
  });
});
