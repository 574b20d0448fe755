import { SLOT_COUNT } from '@kvorum/shard';
import { describe, expect, it } from 'vitest';
import { KEYS, Moving, SOURCE, TARGET, WRITE_MS } from './moving.ts';

describe('slots move while members die', () => {
  it.each(Array.from({ length: 3 }, (_, seed) => seed))(
    'seed %i: nothing is lost',
    { timeout: 60_000 },
    async (seed) => {
      const moving = new Moving(seed);
      const { world } = moving;
      world.start();
      for (const shard of world.shards) await world.awaitLeader(shard);
      moving.write();
      await world.run(500);
      moving.begin(SOURCE, TARGET, '00000000000000f1');
      await moving.settle(2);
      moving.begin(TARGET, SOURCE, '00000000000000f2');
      await moving.settle(2);
      moving.stopWriting();
      await world.run(WRITE_MS);
      for (const key of KEYS) {
        const value = await moving.read(key);
        expect(value).toBeGreaterThanOrEqual(moving.acknowledged.get(key) ?? 0);
        expect(value).toBeLessThanOrEqual(moving.tried.get(key) ?? 0);
      }
      expect(moving.broken).toEqual([]);
      expect(world.alarms.filter(({ excused }) => !excused)).toEqual([]);
      const source = world.leader(SOURCE)?.replica(SOURCE)?.slotStatus().ownership;
      expect(source?.owned).toEqual([[0, SLOT_COUNT - 1]]);
      const target = world.leader(TARGET)?.replica(TARGET)?.slotStatus().ownership;
      expect([target?.owned, target?.drops, target?.frozen]).toEqual([[], [], []]);
      await moving.end();
    },
  );
});
