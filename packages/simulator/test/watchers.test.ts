import { shardId, utf8 } from '@kvorum/base';
import { History, SimWatcher, World } from '@kvorum/simulator';
import { expect, it } from 'vitest';

const SHARD = shardId(0);
/** When a watcher looks for a member for the first time. */
const FIRST_MS = 300;

it('a watcher whose call waits in a paused member is shown nothing twice', async () => {
  const world = new World({ seed: 2, members: 2 });
  world.start();
  await world.awaitLeader(SHARD);
  const [pausing, other] = world.members;
  if (pausing === undefined || other === undefined) throw new Error('there are two members');
  const history = new History();
  const watcher = new SimWatcher({ world, history, keys: 1 }, 0, world.rng('clients'));
  watcher.restrict([pausing]);
  // When it calls, the member runs, but has not come to what waited in a first pause; then it pauses again.
  world.clock.setTimer(FIRST_MS, () => {
    pausing.pause();
    pausing.call(SHARD, () => undefined);
    pausing.resume();
  });
  watcher.start();
  world.clock.setTimer(FIRST_MS, () => pausing.pause());
  await world.run(FIRST_MS);
  watcher.restrict([other]);
  await world.run(1000);
  expect(watcher.connected).toBe(true);
  pausing.resume();
  const leader = await world.awaitLeader(SHARD);
  world.replica(leader, SHARD).submit({
    request: { op: 'put', key: utf8('s0/k0'), value: utf8('1') },
    session: undefined,
    deadlineMs: leader.nowMs() + 5000,
    bytes: 1,
    done: () => undefined,
  });
  await world.run(1000);
  expect(watcher.record.seen.map(({ revision }) => revision)).toEqual([2]);
  await world.stop();
});
