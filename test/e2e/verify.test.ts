import { expect, it } from 'vitest';
import { orderViolations, writeViolations } from './verify.ts';
import type { SeenEvent, WriteRecord } from './workload.ts';

/** The survival tests are worth what these find. */
const write = (outcome: WriteRecord['outcome'], revision?: number): WriteRecord => ({
  key: 'k',
  value: '1',
  startMs: 0,
  endMs: 1,
  outcome,
  revision,
  shard: '0',
  code: outcome === 'acknowledged' ? undefined : 'KV_DEADLINE',
});
const seen = (revision: number, shard = '0'): SeenEvent => ({
  shard,
  key: 'k',
  value: '1',
  revision,
});

it.each<[string, WriteRecord, readonly SeenEvent[], readonly RegExp[]]>([
  ['acknowledged and seen', write('acknowledged', 5), [seen(5)], []],
  ['acknowledged and lost', write('acknowledged', 5), [], [/acknowledged at 5, never seen/]],
  ['acknowledged elsewhere', write('acknowledged', 5), [seen(6)], [/at 5, seen at 6/]],
  ['applied twice', write('acknowledged', 5), [seen(5), seen(6)], [/applied 2 times/]],
  ['failed and absent', write('failed'), [], []],
  ['failed, yet applied', write('failed'), [seen(5)], [/reported as failed.*yet applied/]],
  ['unknown and absent', write('unknown'), [], []],
  ['unknown and applied', write('unknown'), [seen(5)], []],
  ['unknown and applied twice', write('unknown'), [seen(5), seen(6)], [/applied 2 times/]],
])('a write %s', (_what, record, events, violations) => {
  const found = writeViolations({ writes: [record], events: [...events] });
  expect(found).toHaveLength(violations.length);
  for (const [i, violation] of violations.entries()) expect(found[i]).toMatch(violation);
});

it('events rise within their shard, doubled and reordered ones are found', () => {
  expect(orderViolations([seen(1), seen(2, '1'), seen(2), seen(1, '2')])).toEqual([]);
  expect(orderViolations([seen(1), seen(1)])).toHaveLength(1);
  expect(orderViolations([seen(2), seen(1)])).toHaveLength(1);
});
