import { utf8 } from '@kvorum/base';
import type { Plant } from '@kvorum/simulator';
import { expect, it } from 'vitest';
import {
  cluster,
  put,
  query,
  read,
  replicaOf,
  responseOf,
  revisionOf,
  SHARD,
  settled,
  submit,
  Watcher,
  write,
} from './support.ts';

/** A cluster whose appends land at once while, once asked, the leader hears of it half a second late. */
async function lateAnswers(): Promise<
  Awaited<ReturnType<typeof cluster>> & { readonly answersLate: () => void }
> {
  let late = false;
  const plant: Plant = {
    log: (log) => ({
      ...log,
      append: async (record) => {
        const answer = await log.append(record);
        if (late) await new Promise<void>((go) => void made.world.clock.setTimer(500, go));
        return answer;
      },
    }),
  };
  const made = await cluster({ plant });
  const answersLate = (): void => {
    late = true;
  };
  return { ...made, answersLate };
}

it('shows nothing on a follower that the leader does not know to be accepted yet', async () => {
  const { world, leader, answersLate } = await lateAnswers();
  await write(world, leader, put('a', '1'));
  const follower = world.members.find((member) => member !== leader);
  if (follower === undefined) throw new Error('a follower');
  const watch = new Watcher(world, follower, { key: utf8('a') });
  await world.run(200);
  answersLate();
  const writing = submit(world, leader, put('a', '2'));
  await world.run(300);
  const { raft } = replicaOf(world, follower).status();
  expect(raft.accepted.index).toBe(3);
  const key = utf8('a');
  const stale = await query(world, follower, { op: 'range', key, serializable: true });
  expect(responseOf(stale)).toMatchObject({ revision: 2 });
  expect(watch.texts).toEqual(['put a=1@2']);
  // Not even reads wait for the append that hangs: an outage of the log must not stop them.
  expect(await read(world, follower, 'a')).toBe('1');
  expect(await read(world, leader, 'a')).toBe('1');
  expect(revisionOf(await settled(world, writing))).toBe(3);
  // The leader tells those who watch at once: this is far less than a heartbeat interval.
  await world.run(10);
  expect(watch.texts).toEqual(['put a=1@2', 'put a=2@3']);
  expect(await read(world, follower, 'a')).toBe('2');
});

it('tells a watch on a follower at once, however long it lets records gather', async () => {
  const { world, leader } = await cluster({ limits: { followPauseMs: 60_000 } });
  const follower = world.members.find((member) => member !== leader);
  if (follower === undefined) throw new Error('a follower');
  const watch = new Watcher(world, follower, { key: utf8('a') });
  await world.run(300);
  for (const value of ['1', '2', '3']) {
    await write(world, leader, put('a', value));
    await world.run(20);
    expect(watch.texts.at(-1)).toMatch(`put a=${value}`);
  }
});

it('shows on a follower what a dead leader appended last as soon as the next barrier stands', async () => {
  const { world, leader, answersLate } = await lateAnswers();
  const follower = world.members.find((member) => member !== leader);
  if (follower === undefined) throw new Error('a follower');
  const watch = new Watcher(world, follower, { key: utf8('a') });
  await world.run(200);
  answersLate();
  const writing = submit(world, leader, put('a', '1'));
  expect(
    await world.runUntil(() => replicaOf(world, follower).status().raft.accepted.index === 2),
  ).toBe(true);
  expect(writing.result).toBeUndefined();
  leader.crash();
  await world.run(20);
  expect(watch.texts).toEqual([]);
  await world.awaitLeader(SHARD, leader);
  await world.run(500);
  expect(watch.texts).toEqual(['put a=1@2']);
});
