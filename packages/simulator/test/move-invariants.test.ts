import { type ShardId, shardId, utf8 } from '@kvorum/base';
import { emptyOwnership, revisionKey, type SlotOwnership, type SlotSpan } from '@kvorum/mvcc';
import type { StoreRow } from '@kvorum/ports';
import { beginMoves, finishMove, type ShardMap, switchMove } from '@kvorum/shard';
import {
  firstMapOf,
  History,
  type InvariantName,
  MoveChecker,
  type Op,
  type Outcome,
  Problems,
  type SimMember,
  slotSpace,
  spanOfGroup,
  Truth,
  type WatchRecord,
  World,
} from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';

const SOURCE = shardId(0);
const TARGET = shardId(1);
const META = shardId(2);
const GROUP = shardId(3);
const SPAN = spanOfGroup(Number(GROUP));
const REST: readonly SlotSpan[] = [spanOfGroup(0), spanOfGroup(1), spanOfGroup(2), spanOfGroup(4)];
const MOVE = '00000000000000f1';

/** What a shard's log is to say of its slots. */
class Doctored extends Truth {
  owns: SlotOwnership | undefined;

  override get ownership(): SlotOwnership | undefined {
    return this.owns;
  }
}

interface Moved {
  readonly world: World;
  readonly source: Doctored;
  readonly target: Doctored;
  readonly meta: Truth;
  readonly map: ShardMap;
  readonly checker: MoveChecker;
  readonly problems: Problems;
}

/** Two shards, the second made for a move, and one that keeps the map. */
function moved(): Moved {
  const world = new World({
    seed: 1,
    shards: 3,
    slots: (shard) => slotSpace(shard === TARGET),
  });
  const map = firstMapOf(world.members, 2);
  const [source, target, meta] = [new Doctored(), new Doctored(), new Truth()];
  const truths = new Map<ShardId, Truth>([
    [SOURCE, source],
    [TARGET, target],
    [META, meta],
  ]);
  target.owns = emptyOwnership([]);
  const problems = new Problems();
  const checker = new MoveChecker(world, { truths, problems, firstMap: map, meta: META });
  return { world, source, target, meta, map, checker, problems };
}

function names({ found }: Problems): readonly InvariantName[] {
  return found.map(({ invariant }) => invariant);
}

const frozen = { move: MOVE, attempt: 1, mapVersion: 2, slots: [SPAN] };
const coming = {
  move: MOVE,
  attempt: 1,
  slots: [SPAN],
  band: 1,
  next: 9,
  floor: -1,
  sealed: 8,
  adopted: -1,
  compactedBefore: -1,
};

const dropped = { move: MOVE, slots: [SPAN], main: 0, sub: 0, through: 9 };

function begun(map: ShardMap): ShardMap {
  const moves = [{ from: SOURCE, to: TARGET, slots: [SPAN] }];
  return beginMoves(map, { shards: [], moves }, [MOVE]);
}

/** The map as its shard's log has it from now on. */
function publish({ meta, map }: Moved, next: ShardMap | undefined): void {
  const version = map.version + meta.changes.length + 1;
  meta.add({ revision: version + 1, key: 'map', value: JSON.stringify({ ...next, version }) });
}

const containing = (part: string): unknown => expect.stringContaining(part);

describe('slot-owned-once', () => {
  it('sees nothing before, in and after a move', () => {
    const all = moved();
    const { source, target, checker, problems, map } = all;
    checker.check();
    const before = emptyOwnership([[0, 16383]]);
    publish(all, begun(map));
    source.owns = { ...before, frozen: [frozen] };
    target.owns = { ...emptyOwnership([]), imports: [{ ...coming, state: 'open' }] };
    checker.check();
    target.owns = { ...emptyOwnership([]), imports: [{ ...coming, state: 'sealed' }] };
    checker.check();
    publish(all, switchMove(begun(map), MOVE, 1));
    // The source lets go, or the target adopts: whoever is first.
    source.owns = emptyOwnership(REST);
    checker.check();
    target.owns = emptyOwnership([SPAN]);
    const other = spanOfGroup(5);
    source.owns = { ...emptyOwnership([...REST, other]), frozen: [] };
    checker.check();
    const gone = problems.found.filter(({ text }) => !text.startsWith('group 5'));
    expect(gone).toEqual([]);
  });

  it('two shards serve a slot', () => {
    const { source, target, checker, problems } = moved();
    source.owns = { ...emptyOwnership([[0, 16383]]), frozen: [frozen] };
    target.owns = emptyOwnership([SPAN]);
    checker.check();
    expect(problems.found).toEqual([]);
    source.owns = emptyOwnership([[0, 16383]]);
    checker.check();
    expect(problems.found).toEqual([
      { invariant: 'slot-owned-once', text: containing('served by 0 and 1') },
    ]);
  });

  it('nobody owns a slot', () => {
    const { source, target, checker, problems } = moved();
    source.owns = emptyOwnership([...REST, spanOfGroup(5)]);
    target.owns = { ...emptyOwnership([]), imports: [{ ...coming, state: 'open' }] };
    checker.check();
    expect(problems.found).toEqual([
      { invariant: 'slot-owned-once', text: containing('owned by nobody') },
    ]);
  });

  it('the map names a shard that has not got the slot', () => {
    const all = moved();
    const { target, checker, problems, map } = all;
    publish(all, switchMove(begun(map), MOVE, 1));
    target.owns = { ...emptyOwnership([]), imports: [{ ...coming, state: 'open' }] };
    checker.check();
    expect(problems.found).toEqual([
      { invariant: 'slot-owned-once', text: containing('the map says 1, held by 0') },
    ]);
  });

  it('a shard took a change of a key that it did not serve', () => {
    const { target, checker, problems } = moved();
    target.foreign.push('s3/k0@7');
    checker.check();
    expect(names(problems)).toEqual(['slot-owned-once']);
  });
});

describe('moved-history', () => {
  const KEY = 's3/k0';

  /** A key with three versions, the second a deletion. */
  async function written(): Promise<Moved & { readonly member: SimMember }> {
    const all = moved();
    const { world, checker, source } = all;
    source.owns = undefined;
    // The log is read by a reader that is not doctored.
    const truth = new Truth();
    const truths = new Map<ShardId, Truth>([
      [SOURCE, truth],
      [TARGET, new Truth(slotSpace(true))],
      [META, new Truth()],
    ]);
    const parts = { truths, problems: all.problems, firstMap: all.map, meta: META };
    world.start();
    const leader = await world.awaitLeader(SOURCE);
    for (const value of ['a', undefined, 'b']) {
      const key = utf8(KEY);
      world.replica(leader, SOURCE).submit({
        request:
          value === undefined
            ? { op: 'delete-range', key }
            : { op: 'put', key, value: utf8(value) },
        session: undefined,
        deadlineMs: leader.nowMs() + 5000,
        bytes: 1,
        done: () => undefined,
      });
      await world.run(200);
    }
    await world.run(1000);
    const live = new MoveChecker(world, parts);
    live.check();
    const [member] = world.members;
    if (member === undefined) throw new RangeError('a member');
    expect(checker.map.version).toBe(live.map.version);
    return { ...all, checker: live, member };
  }

  /** Has the member's disk show other rows of history than it holds. */
  function doctor(member: SimMember, change: (rows: readonly StoreRow[]) => readonly StoreRow[]) {
    const { stores } = member;
    const prefix = revisionKey(0, 0)[0];
    const rows: typeof stores.rows = (name, when) => {
      const all = stores.rows(name, when);
      const history = all.filter(([key]) => key[0] === prefix);
      return [...all.filter(([key]) => key[0] !== prefix), ...change(history)];
    };
    Object.assign(member, { stores: { ...stores, rows } });
  }

  it('sees nothing on a sound disk', async () => {
    const { world, checker, problems } = await written();
    checker.checkDisks(world.members);
    expect(problems.found).toEqual([]);
  });

  const cases: readonly (readonly [
    string,
    RegExp,
    (rows: readonly StoreRow[]) => readonly StoreRow[],
  ])[] = [
    ['a version is missing', /is missing/, (rows) => rows.filter((_, i) => i !== 0)],
    ['a version stands twice', /stands twice/, (rows) => [...rows, ...rows.slice(-1)]],
    ['a version that nobody wrote', /which nobody wrote/, (rows) => rows.map(withOtherValue)],
    ['a deletion is forgotten', /lives again|is missing/, (rows) => rows.slice(0, 1)],
  ];
  it.each(cases)('%s', async (_, text, change) => {
    const { world, checker, problems, member } = await written();
    doctor(member, change);
    checker.checkDisks(world.members);
    expect(new Set(names(problems))).toEqual(new Set(['moved-history']));
    expect(problems.found.map((one) => one.text).join()).toMatch(text);
  });

  it('a version that is left where the slot has gone from', async () => {
    const { world, checker, problems, member } = await written();
    const replica = member.replica(SOURCE);
    if (replica === undefined) throw new RangeError('a replica');
    const { revision } = replica.status();
    Object.assign(replica, { slotStatus: () => ({ ownership: emptyOwnership(REST), revision }) });
    checker.checkDisks([member]);
    expect(problems.found.map((one) => one.text)).toEqual([containing('is left behind')]);
    problems.found.splice(0);
    const ownership = { ...emptyOwnership(REST), drops: [dropped] };
    Object.assign(replica, { slotStatus: () => ({ ownership, revision }) });
    checker.checkDisks([member]);
    expect(problems.found).toEqual([]);
    expect(world.members).toContain(member);
  });
});

describe('what clients are told', () => {
  const put: Op = { kind: 'put', key: 's3/k0', value: 'v' };
  const ok = (revision: number): Outcome => {
    return { kind: 'ok', revision, changed: true, found: new Map() };
  };

  it('moved-writes: a write stands in both shards, or in none', () => {
    const { source, target, checker, problems } = moved();
    const history = new History();
    history.finish(history.begin('c', GROUP, put, 0), ok(4));
    source.add({ revision: 4, key: put.key, value: 'v' });
    checker.checkWrites(history.ops);
    expect(problems.found).toEqual([]);
    target.add({ revision: 6, key: put.key, value: 'v' });
    checker.checkWrites(history.ops);
    expect(problems.found).toEqual([
      { invariant: 'moved-writes', text: containing('applied more than once') },
    ]);
    const lost = moved();
    lost.checker.checkWrites(history.ops);
    expect(lost.problems.found).toEqual([
      { invariant: 'moved-writes', text: containing('lost write') },
    ]);
  });

  it('moved-watch: an event is missing, or comes twice, over a move', () => {
    const { source, target, checker, problems } = moved();
    source.add({ revision: 4, key: put.key, value: 'v' });
    target.add({ revision: 9, key: put.key, value: 'w' });
    const first = { revision: 4, key: put.key, value: 'v', previous: undefined };
    const second = { revision: 9, key: put.key, value: 'w', previous: 'v' };
    const record: Omit<WatchRecord, 'seen'> = {
      name: 'w',
      shard: GROUP,
      key: undefined,
      withPrevious: true,
      shown: [],
      skipped: [],
      from: 2,
      next: 10,
    };
    checker.checkWatch({ ...record, seen: [first, second] });
    expect(problems.found).toEqual([]);
    checker.checkWatch({ ...record, seen: [second] });
    checker.checkWatch({ ...record, seen: [first, first, second] });
    expect(names(problems)).toEqual(['moved-watch', 'moved-watch']);
  });
});

it('move-ends: a move is still under way', () => {
  const all = moved();
  const { checker, problems, map } = all;
  publish(all, begun(map));
  checker.check();
  checker.checkEnded();
  expect(problems.found).toEqual([{ invariant: 'move-ends', text: `move ${MOVE} copying 1` }]);
  const ended = moved();
  const switched = switchMove(begun(ended.map), MOVE, 1) ?? ended.map;
  publish(ended, finishMove(switched, MOVE));
  ended.checker.check();
  ended.checker.checkEnded();
  expect(names(ended.problems)).not.toContain('move-ends');
});

function withOtherValue([key, row]: StoreRow): StoreRow {
  const copy = row.slice();
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return [key, copy];
}
