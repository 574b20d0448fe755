import { shardId } from '@kvorum/base';
import { expect, it } from 'vitest';
import type { Op, OpRecord, WatchRecord } from '../src/history.ts';
import { checkRealTime } from '../src/invariants/real-time.ts';

const shard = shardId(0);

function answered(op: Op, [start, end]: readonly [number, number], revision: number): OpRecord {
  const outcome = { kind: 'ok', revision, changed: true, found: new Map() } as const;
  return { id: start, client: 'c', shard, op, start, startMs: start, end, outcome };
}

const watch = (...shown: WatchRecord['shown']): WatchRecord => ({
  name: 'w',
  shard,
  key: undefined,
  withPrevious: false,
  seen: [],
  shown,
  skipped: [],
  from: 2,
  next: 2,
});

const get: Op = { kind: 'get', key: 'a' };

it('finds a read that is older than what a watch had shown before it started', () => {
  const read = answered(get, [5, 8], 3);
  expect(checkRealTime([read], [watch([2, 3], [6, 4])])).toEqual([]);
  expect(checkRealTime([read], [watch([2, 3], [4, 4])])).toEqual([
    'op 5 of c (get a) answered @3 after w had seen @4',
  ]);
});

it('finds one that is older than a stale list; stale lists may be old themselves', () => {
  const stale: Op = { kind: 'list', stale: true };
  const list = answered(stale, [1, 2], 9);
  expect(checkRealTime([list, answered(stale, [3, 4], 7)], [])).toEqual([]);
  expect(checkRealTime([list, answered(get, [3, 4], 7)], [])).toHaveLength(1);
});
