import { utf8 } from '@kvorum/base';
import { Engine, initialMeta, type SlotCommand, type SlotSpace } from '@kvorum/mvcc';
import { describe, expect, it } from 'vitest';
import { TestReplica } from './harness.ts';

const SPACE: SlotSpace = { count: 4, ofKey: () => 1, ofRange: () => 1, startsEmpty: false };
const SLOTS = [[1, 1]] as const;
const OWNED = [[0, 3]] as const;

/** A shard that owns all four slots; every key lies in slot 1. */
function shard(): TestReplica {
  const replica = new TestReplica();
  replica.engine = Engine.load(initialMeta(), replica.limits, { space: SPACE, row: undefined });
  replica.run(replica.engine.loadSessions());
  return replica;
}

/** What became of a step. */
function step(replica: TestReplica, request: SlotCommand): string {
  const [result] = replica.batch([{ request }]);
  return result?.ok === true ? 'done' : (result?.error.message ?? 'no answer');
}

const freeze = (move: string, mapVersion: number): SlotCommand => {
  return {
    op: 'slots',
    action: 'freeze',
    move,
    attempt: 1,
    mapVersion,
    slots: SLOTS,
    owned: OWNED,
  };
};

describe('a step that was asked long ago', () => {
  it('does not freeze slots that have gone and come back since, for a release to take them', () => {
    const source = shard();
    expect(step(source, freeze('m1', 2))).toBe('done');
    const release = { op: 'slots', action: 'release', move: 'm1', mapVersion: 3 } as const;
    expect(step(source, release)).toBe('done');
    expect(step(source, { op: 'slots', action: 'drop', move: 'm1' })).toBe('done');
    const back = { op: 'slots', move: 'm2' } as const;
    const begin = {
      ...back,
      action: 'import-begin',
      attempt: 1,
      slots: SLOTS,
      owned: OWNED,
    } as const;
    expect(step(source, begin)).toBe('done');
    const rows = { ...back, action: 'import-rows', from: 0, to: 9, floor: -1, rows: [] } as const;
    expect(step(source, rows)).toBe('done');
    const seal = { ...back, action: 'import-seal', attempt: 1, sealed: 8, floor: -1 } as const;
    expect(step(source, seal)).toBe('done');
    expect(step(source, { ...back, action: 'adopt', mapVersion: 6 })).toBe('done');
    // Both had been stuck on their way since the first move.
    expect(step(source, freeze('m1', 2))).toMatch(/its slots came or went with map 6/);
    expect(step(source, release)).toBe('done');
    const key = utf8('k');
    const [put] = source.batch([{ request: { op: 'put', key, value: key } }]);
    expect(put?.ok).toBe(true);
    // A new one is no such thing.
    expect(step(source, freeze('m3', 7))).toBe('done');
  });
});
