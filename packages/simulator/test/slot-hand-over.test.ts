import { utf8 } from '@kvorum/base';
import { SLOT_COUNT, slotOf } from '@kvorum/shard';
import { expect, it } from 'vitest';
import { Moving, SOURCE, TARGET } from './moving.ts';

const MOVE = '00000000000000f1';

async function started(moving: Moving): Promise<void> {
  const { world } = moving;
  world.start();
  for (const shard of world.shards) await world.awaitLeader(shard);
}

async function ended(moving: Moving): Promise<void> {
  expect(moving.broken).toEqual([]);
  expect(moving.world.alarms.filter(({ excused }) => !excused)).toEqual([]);
  await moving.end();
}

const SLOW = { timeout: 60_000 };

it(
  'a hand-over gets more time with each attempt, so that it ends on a log that is slow',
  SLOW,
  async () => {
    const limits = { slotHandOverMsAim: 400, slotHandOverMsMax: 10_000 };
    const moving = new Moving(5, { appendMs: [300, 350], limits });
    await started(moving);
    moving.write(2);
    moving.begin(SOURCE, TARGET, MOVE);
    await moving.settle(0);
    moving.stopWriting();
    const kinds = moving.told.map(({ kind }) => kind);
    expect(kinds.slice(-2)).toEqual(['done', 'moved']);
    // It does not begin with all the time there is.
    expect(kinds.filter((kind) => kind === 'void').length).toBeGreaterThan(1);
    await ended(moving);
  },
);

it(
  'revisions that together, or alone, find no room in one record of the taker move',
  SLOW,
  async () => {
    const recordBytesMax = 16_384;
    const moving = new Moving(6, { limits: { recordBytesMax } });
    await started(moving);
    const names = Array.from({ length: 4000 }, (_, i) => `wide-${i}`);
    const moved = names.filter((name) => slotOf(utf8(name), []) < SLOT_COUNT / 2).slice(0, 100);
    for (const round of ['1', '2', '3']) {
      // A revision fills its record, but for the room that is kept in each.
      const success = moved.map((name) => {
        return { op: 'put', key: utf8(name), value: utf8(round.padStart(36, '0')) } as const;
      });
      const result = await written(moving, { op: 'txn', compare: [], success, failure: [] });
      expect(result?.ok).toBe(true);
    }
    moving.begin(SOURCE, TARGET, MOVE);
    await moving.settle(0);
    expect(moving.told.map(({ kind }) => kind)).toEqual(['done', 'moved']);
    for (const name of moved.slice(-3)) expect(await moving.read(name)).toBe(3);
    const target = moving.world.leader(TARGET)?.replica(TARGET)?.slotStatus();
    expect(target?.ownership?.imports[0]?.part).toBeUndefined();
    await ended(moving);
  },
);

async function written(
  moving: Moving,
  request: Parameters<Moving['submit']>[1],
): ReturnType<Moving['submit']> {
  let result: Awaited<ReturnType<Moving['submit']>>;
  let answered = false;
  void moving.submit(SOURCE, request).then((found) => {
    result = found;
    answered = true;
  });
  await moving.world.runUntil(() => answered, 10_000);
  return result;
}
