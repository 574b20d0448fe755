import { shardId } from '@kvorum/base';
import {
  Audit,
  checkLinearizable,
  checkOutcomes,
  checkWatch,
  type Found,
  History,
  type Op,
  type OpRecord,
  type Outcome,
  Truth,
  type WatchRecord,
  World,
} from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';

const SHARD = shardId(0);

/** a=v1@2, a=v2@3, b=v3@4, a deleted @5, a=v4 and b=v4 @6. */
function truth(): Truth {
  const one = new Truth();
  one.add({ revision: 2, key: 'a', value: 'v1' });
  one.add({ revision: 3, key: 'a', value: 'v2' });
  one.add({ revision: 4, key: 'b', value: 'v3' });
  one.add({ revision: 5, key: 'a', value: undefined });
  one.add({ revision: 6, key: 'a', value: 'v4' });
  one.add({ revision: 6, key: 'b', value: 'v4' });
  return one;
}

function ok(revision: number, changed = true, found: Record<string, string> = {}): Outcome {
  const map: Found = new Map(Object.entries(found));
  return { kind: 'ok', revision, changed, found: map };
}

/** Operations one after the other in real time. */
function sequence(...steps: readonly (readonly [Op, Outcome])[]): readonly OpRecord[] {
  const history = new History();
  for (const [op, outcome] of steps) history.finish(history.begin('c', SHARD, op, 0), outcome);
  return history.ops;
}

const put = (key: string, value: string): Op => ({ kind: 'put', key, value });
const get = (key: string): Op => ({ kind: 'get', key });
const failed: Outcome = { kind: 'failed', code: 'KV_DEPOSED' };
const unknown: Outcome = { kind: 'unknown', code: 'KV_TIMEOUT' };

describe('outcomes', () => {
  it('accepts what is right', () => {
    const ops = sequence(
      [put('a', 'v1'), ok(2)],
      [put('a', 'v2'), unknown],
      [put('b', 'v3'), ok(4)],
      [{ kind: 'delete', key: 'a' }, ok(5)],
      [{ kind: 'pair', keys: ['a', 'b'], value: 'v4' }, ok(6)],
      [put('a', 'nowhere'), failed],
      [put('a', 'nowhere either'), unknown],
    );
    expect(checkOutcomes(ops, truth())).toEqual([]);
  });

  const wrong: readonly (readonly [string, Op, Outcome, RegExp])[] = [
    ['a lost write', put('a', 'gone'), ok(3), /lost write/],
    ['a write at another revision', put('a', 'v1'), ok(3), /lost write/],
    ['a lost delete', { kind: 'delete', key: 'b' }, ok(5), /lost/],
    ['a failed write that stands', put('a', 'v1'), failed, /failed .* but stands/],
    [
      'a swap not made that stands',
      { kind: 'swap', key: 'a', expected: 'x', value: 'v1' },
      ok(3, false),
      /answered as not made/,
    ],
    ['half a txn', { kind: 'pair', keys: ['a', 'c'], value: 'v1' }, ok(2), /in part/],
  ];
  it.each(wrong)('sees %s', (_, op, outcome, problem) => {
    const problems = checkOutcomes(sequence([op, outcome]), truth());
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(problem);
  });

  it('sees a write that was applied twice', () => {
    const twice = truth();
    twice.add({ revision: 7, key: 'a', value: 'v1' });
    expect(checkOutcomes(sequence([put('a', 'v1'), unknown]), twice)[0]).toMatch(/more than once/);
  });
});

describe('linearizable', () => {
  it('accepts what is right', () => {
    const ops = sequence(
      [put('a', 'v1'), ok(2)],
      [get('a'), ok(2, false, { a: 'v1@2' })],
      [{ kind: 'swap', key: 'a', expected: 'v1', value: 'v2' }, ok(3)],
      [{ kind: 'swap', key: 'a', expected: 'v1', value: 'v9' }, ok(4, false, { a: 'v2@3' })],
      [{ kind: 'list', stale: true }, ok(2, false, { a: 'v1@2' })],
      [get('a'), ok(5, false)],
      [{ kind: 'list', stale: false }, ok(6, false, { a: 'v4@6', b: 'v4@6' })],
    );
    expect(checkLinearizable(ops, truth())).toEqual([]);
  });

  it('sees a stale read', () => {
    const ops = sequence([put('a', 'v2'), ok(3)], [get('a'), ok(2, false, { a: 'v1@2' })]);
    expect(checkLinearizable(ops, truth())[0]).toMatch(/stale/);
  });

  it('sees a write that took a revision already read', () => {
    const ops = sequence([get('b'), ok(4, false, { b: 'v3@4' })], [put('b', 'v3'), ok(4)]);
    expect(checkLinearizable(ops, truth())[0]).toMatch(/stale/);
  });

  it('sees a write of unknown outcome that stands before it began', () => {
    const ops = sequence([get('a'), ok(5, false)], [put('a', 'v2'), unknown]);
    expect(checkLinearizable(ops, truth())[0]).toMatch(/stale/);
  });

  const wrong: readonly (readonly [string, Op, Outcome, RegExp])[] = [
    ['a value that was not there', get('a'), ok(3, false, { a: 'v1@2' }), /read v1@2, was v2@3/],
    ['a missing value', get('a'), ok(3, false), /read undefined, was v2@3/],
    ['a torn txn', { kind: 'list', stale: true }, ok(6, false, { a: 'v4@6', b: 'v3@4' }), /b read/],
    [
      'a key from nowhere',
      { kind: 'list', stale: true },
      ok(2, false, { a: 'v1@2', z: 'q@2' }),
      /unknown keys/,
    ],
    ['a revision from the future', get('a'), ok(9, false, { a: 'v4@6' }), /does not exist/],
    [
      'a swap made on another value',
      { kind: 'swap', key: 'a', expected: 'other', value: 'v2' },
      ok(3),
      /made although/,
    ],
    [
      'a delete of nothing that says it deleted',
      { kind: 'delete', key: 'c' },
      ok(5),
      /made although/,
    ],
  ];
  it.each(wrong)('sees %s', (_, op, outcome, problem) => {
    expect(checkLinearizable(sequence([op, outcome]), truth())[0]).toMatch(problem);
  });
});

describe('watches', () => {
  function watch(change: Partial<WatchRecord> = {}): WatchRecord {
    const seen = [
      { revision: 2, key: 'a', value: 'v1', previous: undefined },
      { revision: 3, key: 'a', value: 'v2', previous: 'v1' },
      { revision: 5, key: 'a', value: undefined, previous: 'v2' },
      { revision: 6, key: 'a', value: 'v4', previous: undefined },
    ];
    const skipped: WatchRecord['skipped'] = [];
    const base = { name: 'w', shard: SHARD, key: 'a', withPrevious: true, from: 2, next: 7 };
    return { ...base, seen, shown: [], skipped, ...change };
  }
  const { seen } = watch();

  it('accepts what is right, also behind a compaction', () => {
    expect(checkWatch(watch(), truth())).toEqual([]);
    expect(checkWatch(watch({ seen: seen.slice(0, 1), next: 3 }), truth())).toEqual([]);
    expect(checkWatch(watch({ seen: seen.slice(2), skipped: [[2, 4]] }), truth())).toEqual([]);
  });

  it.each([
    ['a missing event', seen.slice(1)],
    ['a missing last event', seen.slice(0, 3)],
    ['an event twice', [...seen.slice(0, 2), ...seen.slice(1)]],
    ['events out of order', [...seen].reverse()],
    [
      'an event from nowhere',
      [...seen, { revision: 7, key: 'a', value: 'x', previous: undefined }],
    ],
    ['a wrong previous value', seen.map((event) => ({ ...event, previous: 'zzz' }))],
  ])('sees %s', (_, doctored) => {
    expect(checkWatch(watch({ seen: doctored }), truth())).toHaveLength(1);
  });
});

describe('answers', () => {
  it('sees calls answered twice or never', () => {
    const world = new World({ seed: 1 });
    world.start();
    const [member] = world.members;
    if (member === undefined) throw new Error('a member');
    const audit = new Audit();
    const answered = audit.begin(member, 'one');
    audit.begin(member, 'two');
    answered();
    answered();
    expect(audit.problems).toEqual(['m1 answered "one" 2 times']);
    expect(audit.unanswered(new Map([[member, member.life]]))).toEqual(['m1 never answered "two"']);
    expect(audit.unanswered(new Map([[member, 2]]))).toEqual([]);
  });
});
