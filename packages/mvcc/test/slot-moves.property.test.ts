import { fromUtf8, utf8 } from '@kvorum/base';
import type { SlotCommand } from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  copy,
  dropAll,
  handOver,
  isMoved,
  MOVED,
  NAMES,
  Shard,
  SLOTS,
  shown,
} from './moving-shard.ts';

const write = fc.record({
  kind: fc.constantFrom('put' as const, 'put' as const, 'delete' as const, 'all' as const),
  name: fc.constantFrom(...NAMES),
});
const plan = fc.record({
  before: fc.array(write, { maxLength: 25 }),
  targetWrites: fc.integer({ min: 0, max: 30 }),
  targetStartsEmpty: fc.boolean(),
  targetCompacts: fc.boolean(),
  compactSourceAt: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
  during: fc.array(fc.array(write, { maxLength: 4 }), { minLength: 1, maxLength: 5 }),
  compactDuring: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
  unfrozenOnce: fc.boolean(),
  lagging: fc.boolean(),
  followerCompactsEarly: fc.boolean(),
  /** Down to a row a record. */
  partBytes: fc.constantFrom(1, 2, 150, 201, 10_000),
  after: fc.array(write, { maxLength: 10 }),
});
type Plan = typeof plan extends fc.Arbitrary<infer T> ? T : never;

let counter = 0;
function apply(
  shard: Shard,
  one: { readonly kind: 'put' | 'delete' | 'all'; readonly name: string },
): void {
  counter += 1;
  if (one.kind === 'all') {
    // One revision of several rows, which a record may cut.
    const success = NAMES.filter(isMoved).map((name) => {
      shard.newest.set(name, `v${counter}`);
      return { op: 'put', key: utf8(name), value: utf8(`v${counter}`) } as const;
    });
    expect(shard.run({ op: 'txn', compare: [], success, failure: [] }).ok).toBe(true);
    return;
  }
  const result =
    one.kind === 'put'
      ? shard.put(one.name, `v${counter}`)
      : shard.run({ op: 'delete-range', key: utf8(one.name) });
  expect(result.ok).toBe(true);
  shard.newest.set(one.name, one.kind === 'put' ? `v${counter}` : undefined);
}

function watchAll(shard: Shard, id: number, from: number): void {
  shard.seen.set(id, []);
  shard.position.set(id, from);
  const request = {
    key: utf8('a'),
    rangeEnd: new Uint8Array([0]),
    startRevision: from,
    slots: MOVED,
  };
  const added = shard.leader.hub.add(id, request, shard.leader.engine.revision);
  if (!added.ok) throw added.error;
}

function moveSlots(given: Plan): void {
  const source = new Shard(false);
  const target = new Shard(given.targetStartsEmpty);
  const owned = given.targetStartsEmpty ? [] : [[0, 0] as const];
  for (const one of given.before) apply(source, one);
  if (!given.targetStartsEmpty) {
    for (let i = 0; i < given.targetWrites; i += 1) target.put('d', `t${i}`);
    if (given.targetCompacts) {
      target.run({ op: 'compact', revision: target.leader.engine.revision });
      target.leader.compactPhysically(given.followerCompactsEarly ? 1 : undefined);
    }
  }
  const compactAt = given.compactSourceAt;
  if (compactAt !== undefined && compactAt <= source.leader.engine.revision) {
    source.run({ op: 'compact', revision: compactAt });
    if (given.followerCompactsEarly) source.leader.compactPhysically();
  }
  const floor = Math.max(1, source.leader.engine.compactRevision);
  watchAll(source, 1, floor);
  source.leader.catchUp();
  source.full = given.lagging;
  target.must({
    op: 'slots',
    action: 'import-begin',
    move: 'm',
    attempt: 1,
    slots: MOVED,
    owned,
  });
  source.leader.store.scanRowsMax = 3;
  for (const [i, writes] of given.during.entries()) {
    for (const one of writes) apply(source, one);
    copy(source, target, given.partBytes);
    // A compaction in the middle of a copy; who lags behind by it is not the subject then.
    if (given.compactDuring === i && !given.lagging) {
      source.leader.catchUp();
      const { revision, compactRevision } = source.leader.engine;
      if (revision > compactRevision) source.run({ op: 'compact', revision });
      if (given.followerCompactsEarly) source.leader.compactPhysically();
    }
    source.leader.compactPhysically(1);
    expect(target.leader.run(target.leader.engine.range({ op: 'range', key: utf8('a') })).ok).toBe(
      false,
    );
  }
  let attempt = 1;
  const tag = { clientId: 'c'.repeat(32), seq: 1, ackedThrough: 0, retry: false };
  const acknowledged = source.run({ op: 'put', key: utf8('a'), value: utf8('session') }, tag);
  source.newest.set('a', 'session');
  handOver(source, target, attempt, given.partBytes);
  if (given.unfrozenOnce) {
    source.must({ op: 'slots', action: 'unfreeze', move: 'm', attempt, mapVersion: 1 });
    expect(source.gone.has(1)).toBe(true);
    source.gone.delete(1);
    const begun = source.seen.get(1) ?? [];
    watchAll(source, 1, source.position.get(1) ?? 0);
    source.seen.set(1, begun);
    apply(source, { kind: 'put', name: 'e' });
    attempt = 2;
    target.must({ op: 'slots', action: 'import-begin', move: 'm', attempt, slots: MOVED, owned });
    handOver(source, target, attempt, given.partBytes);
  }
  expect(source.gone.has(1)).toBe(true);
  const truth = new Map(
    NAMES.filter(isMoved).map((name) => [name, [...rowsOf(source, name)]] as const),
  );
  target.must({ op: 'slots', action: 'adopt', move: 'm', mapVersion: 2 });
  source.must({ op: 'slots', action: 'release', move: 'm', mapVersion: 2 });
  // The session stays where the write was decided: its retry is answered, and nothing is written twice.
  expect(
    source.run({ op: 'put', key: utf8('a'), value: utf8('session') }, { ...tag, retry: true }),
  ).toEqual(acknowledged);
  const late = { ...tag, seq: 2, retry: true };
  const put = { op: 'put', key: utf8('a'), value: utf8('late') } as const;
  expect(source.run(put, late)).toMatchObject({ ok: false, error: { code: 'KV_WRONG_SHARD' } });
  dropAll(source);
  for (const name of NAMES.filter(isMoved)) {
    const found = target.leader.run(target.leader.engine.range({ op: 'range', key: utf8(name) }));
    if (!found.ok) throw found.error;
    const [kv] = found.value.kvs;
    expect(kv === undefined ? undefined : fromUtf8(kv.value)).toBe(source.newest.get(name));
  }
  const marker = target.leader.engine.revision;
  let later = 0;
  for (const one of given.after.filter(({ name }) => isMoved(name))) {
    const { revision } = target.leader.engine;
    apply(target, one);
    const rows = one.kind === 'all' ? NAMES.filter(isMoved).length : 1;
    if (target.leader.engine.revision > revision) later += rows;
  }
  watchAll(target, 2, source.position.get(1) ?? 0);
  target.leader.catchUp();
  // The source can tell its history from there on; what its watcher was told before is not in it any more.
  const whole = Math.max(floor, source.leader.engine.compactRevision);
  const events = [...(source.seen.get(1) ?? []), ...(target.seen.get(2) ?? [])].filter(
    ({ kv }) => kv.modRevision >= whole,
  );
  const expected = [...truth.values()].flat().filter(({ at }) => at >= whole);
  expected.sort((a, b) => a.at - b.at);
  expect(shown(events).slice(0, expected.length)).toEqual(expected.map(({ text }) => text));
  expect(events.slice(expected.length).every(({ kv }) => kv.modRevision > marker)).toBe(true);
  expect(events.slice(expected.length)).toHaveLength(later);
  expect(target.hash(target.follower)).toBe(target.hash(target.leader));
  expect(source.hash(source.follower)).toBe(source.hash(source.leader));
  target.put('e', 'last');
  expect(target.run({ op: 'compact', revision: target.leader.engine.revision }).ok).toBe(true);
  target.leader.compactPhysically();
  target.follower.compactPhysically();
  expect(target.hash(target.follower)).toBe(target.hash(target.leader));
  // One live row of each key, and nothing that compaction has overlooked.
  for (const { store } of [target.leader, target.follower]) {
    const rows = store.keys().filter((text) => text.startsWith('72')).length;
    const heads = store.keys().filter((text) => text.startsWith('6b')).length;
    expect(rows).toBeLessThanOrEqual(heads + 1);
  }
}

/** Every version of a key that the source still has, as watchers would be shown it. */
function* rowsOf(source: Shard, name: string): Generator<{ at: number; text: string }> {
  const { revision } = source.leader.engine;
  const piece = source.leader.run(source.leader.engine.exportSlots(MOVED, 0));
  let next = piece;
  for (;;) {
    for (const row of next.rows) {
      const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
      const length = view.getUint32(52);
      const key = fromUtf8(row.subarray(57, 57 + length));
      const at = Number(view.getBigUint64(3));
      const value = fromUtf8(row.subarray(57 + length));
      if (key === name)
        yield { at, text: `${row[1] === 1 ? 'delete' : 'put'} ${key} ${value}@${at}` };
    }
    if (next.next > revision) return;
    next = source.leader.run(source.leader.engine.exportSlots(MOVED, next.next));
  }
}

describe('slots move to another shard', () => {
  it('with their history, their watchers and their sessions, whatever happens meanwhile', {
    timeout: 60_000,
  }, () => {
    fc.assert(fc.property(plan, moveSlots), { seed: 6, numRuns: 80 });
  });

  it('keeps what can be read of the past in a shard made for them', () => {
    const source = new Shard(false);
    const target = new Shard(true);
    for (let i = 0; i < 6; i += 1) source.put(i % 2 === 0 ? 'a' : 'b', `v${i}`);
    const before = source.history('a', 1);
    target.must({
      op: 'slots',
      action: 'import-begin',
      move: 'm',
      attempt: 1,
      slots: MOVED,
      owned: [],
    });
    handOver(source, target, 1);
    target.must({ op: 'slots', action: 'adopt', move: 'm', mapVersion: 2 });
    expect(target.history('a', 1)).toEqual(before);
  });

  it('ends a move that is stopped before the source froze anything', () => {
    const source = new Shard(false);
    source.must({ op: 'slots', action: 'unfreeze', move: 'm', attempt: 2, mapVersion: 1 });
    expect(source.leader.engine.ownership).toBeUndefined();
    expect(source.put('a', '1').ok).toBe(true);
  });

  it('refuses a freeze that comes after its move is over, whatever has become of the slots', () => {
    const owned = [[0, SLOTS - 1]] as const;
    const freeze = (move: string, attempt: number, mapVersion: number): SlotCommand => {
      return { op: 'slots', action: 'freeze', move, attempt, mapVersion, slots: MOVED, owned };
    };
    const late = (shard: Shard, command: SlotCommand): void => {
      const before = shard.leader.engine.ownership;
      expect(shard.run(command)).toMatchObject({
        ok: false,
        error: { code: 'KV_INVALID_ARGUMENT' },
      });
      expect(shard.leader.engine.ownership).toEqual(before);
      expect(shard.put('a', '2').ok).toBe(true);
    };
    // Stopped before anything was frozen, in a shard that no move has touched yet.
    const source = new Shard(false);
    source.must({ op: 'slots', action: 'unfreeze', move: 'm', attempt: 2, mapVersion: 3, owned });
    late(source, freeze('m', 1, 2));
    expect(source.follower.engine.ownership?.freezesFrom).toBe(3);
    // The attempt took too long.
    source.must(freeze('m', 1, 4));
    source.must({ op: 'slots', action: 'unfreeze', move: 'm', attempt: 1, mapVersion: 5, owned });
    late(source, freeze('m', 1, 4));
    // There, and back by another move.
    const other = new Shard(true);
    type Pass = readonly [move: string, attempt: number, version: number];
    const pass = (from: Shard, to: Shard, [move, attempt, version]: Pass): void => {
      to.must({ op: 'slots', action: 'import-begin', move, attempt, slots: MOVED, owned: [] });
      from.must(freeze(move, attempt, version));
      const sealed = from.leader.engine.revision;
      const seal = { attempt, sealed };
      const rows = { from: 0, to: sealed + 1, floor: -1, rows: [] };
      to.must({ op: 'slots', action: 'import-rows', move, ...rows, seal });
      to.must({ op: 'slots', action: 'adopt', move, mapVersion: version + 1 });
      from.must({ op: 'slots', action: 'release', move, mapVersion: version + 1 });
      while ((from.leader.engine.ownership?.drops.length ?? 0) > 0)
        from.must({ op: 'slots', action: 'drop', move });
    };
    pass(source, other, ['m', 2, 6]);
    pass(other, source, ['back', 1, 8]);
    late(source, freeze('m', 2, 6));
    source.must(freeze('next', 1, 9));
  });

  it('tells the next shard where the history that came to it begins', () => {
    const [source, target] = [new Shard(false), new Shard(true)];
    for (const value of ['1', '2', '3']) source.put('a', value);
    source.run({ op: 'compact', revision: 3 });
    const begin = { op: 'slots', action: 'import-begin', move: 'm', attempt: 1 } as const;
    target.must({ ...begin, slots: MOVED, owned: [] });
    handOver(source, target, 1);
    target.must({ op: 'slots', action: 'adopt', move: 'm', mapVersion: 2 });
    const piece = target.leader.run(target.leader.engine.exportSlots(MOVED, 0));
    expect(piece.compactRevision).toBe(3);
    expect(target.leader.engine.compactRevision).toBe(-1);
  });

  it('refuses ranges of several slots by a map from before the move, and while slots change hands', () => {
    const source = new Shard(false);
    const target = new Shard(true);
    source.put('a', '1');
    const all = { op: 'range', key: utf8('a'), rangeEnd: new Uint8Array([0]) } as const;
    const ask = (shard: Shard, version: number): unknown => {
      const result = shard.leader.run(shard.leader.engine.range(all, version));
      return result.ok ? result.value.kvs.length : result.error.code;
    };
    target.must({
      op: 'slots',
      action: 'import-begin',
      move: 'm',
      attempt: 1,
      slots: MOVED,
      owned: [],
    });
    expect([ask(source, 1), ask(target, 1)]).toEqual([1, 0]);
    handOver(source, target, 1);
    expect([ask(source, 1), ask(target, 1)]).toEqual(['KV_WRONG_SHARD', 'KV_WRONG_SHARD']);
    target.must({ op: 'slots', action: 'adopt', move: 'm', mapVersion: 2 });
    source.must({ op: 'slots', action: 'release', move: 'm', mapVersion: 2 });
    expect([ask(source, 1), ask(target, 1)]).toEqual(['KV_WRONG_SHARD', 'KV_WRONG_SHARD']);
    // The source has `b` from the hand-over, and no foreign row shows before it is dropped.
    expect([ask(source, 2), ask(target, 2)]).toEqual([1, 1]);
  });
});
