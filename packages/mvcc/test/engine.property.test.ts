import {
  type Compare,
  DEFAULT_LIMITS,
  RANGE_END_OPEN,
  type RangeRequest,
  type TxnOp,
  type TxnRequest,
  utf8,
  type WriteRequest,
} from '@kvorum/base';
import { type ReadAnswer, type Reading, validate, writeSetRows } from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  expectSameAfterCompaction,
  expectSameBatch,
  expectSameRange,
  expectSameReadTxn,
  KEYS,
  key,
  revision,
  txnOf,
  value,
  type Watched,
  Watchers,
} from './beside-model.ts';
import { TestReplica } from './harness.ts';
import { errorName, Model } from './model.ts';
import { showResponse } from './script.ts';

const SEED = 20_241;
const end = fc.oneof(
  { weight: 3, arbitrary: fc.constant(new Uint8Array(0)) },
  { weight: 2, arbitrary: key },
  { weight: 1, arbitrary: fc.constant(RANGE_END_OPEN) },
);

const range: fc.Arbitrary<RangeRequest> = fc.record({
  op: fc.constant('range' as const),
  key,
  rangeEnd: end,
  limit: fc.integer({ min: 0, max: 3 }),
  revision: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: revision }),
  sortOrder: fc.constantFrom('none' as const, 'ascend' as const, 'descend' as const),
  countOnly: fc.boolean(),
});
const put = fc.record({
  op: fc.constant('put' as const),
  key,
  value,
  prevKv: fc.boolean(),
});
const ignoring = key.map((name) => ({
  op: 'put' as const,
  key: name,
  value: new Uint8Array(0),
  ignoreValue: true,
}));
const remove = fc.record({
  op: fc.constant('delete-range' as const),
  key,
  rangeEnd: end,
  prevKv: fc.boolean(),
});
const compare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({
    key,
    rangeEnd: end,
    result: fc.constantFrom('equal' as const, 'greater' as const, 'less' as const),
    target: fc.constantFrom('version' as const, 'create' as const, 'mod' as const),
    value: fc.integer({ min: 0, max: 12 }),
  }),
  fc.record({
    key,
    rangeEnd: end,
    result: fc.constantFrom('equal' as const, 'not-equal' as const),
    target: fc.constant('value' as const),
    value,
  }),
);
const flat: fc.Arbitrary<TxnOp> = fc.oneof(put, remove, range, ignoring);
const txn = txnOf(
  compare,
  fc.oneof({ weight: 5, arbitrary: flat }, { weight: 1, arbitrary: txnOf(compare, flat) }),
);
const compact = revision.map((at) => ({ op: 'compact' as const, revision: at }));
const write: fc.Arbitrary<WriteRequest> = fc.oneof(
  { weight: 4, arbitrary: put },
  { weight: 2, arbitrary: remove },
  { weight: 1, arbitrary: ignoring },
  { weight: 4, arbitrary: txn },
  { weight: 1, arbitrary: compact },
);

type Step =
  | { readonly kind: 'batch'; readonly writes: readonly WriteRequest[] }
  | { readonly kind: 'range'; readonly range: RangeRequest }
  | { readonly kind: 'read-txn'; readonly txn: TxnRequest }
  | {
      readonly kind: 'watch';
      readonly key: Uint8Array;
      readonly rangeEnd: Uint8Array;
      readonly start: number;
    }
  | { readonly kind: 'fill' | 'drain' | 'catch-up' | 'physical' | 'restart' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      writes: fc.array(write, { minLength: 1, maxLength: 5 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('range' as const), range }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('read-txn' as const), txn: txnOf(compare, range) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('watch' as const),
      key,
      rangeEnd: end,
      start: fc.integer({ min: 0, max: 40 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'fill' as const,
        'drain' as const,
        'catch-up' as const,
        'physical' as const,
      ),
    }),
  },
);

interface RangeWatched extends Watched {
  readonly range: { key: Uint8Array; rangeEnd: Uint8Array };
}

/** The engine and the model side by side. */
class Pair {
  readonly model = new Model();
  readonly watchers = new Watchers<RangeWatched>();
  readonly replica = new TestReplica({}, this.watchers.sink);

  run(steps: readonly Step[]): void {
    this.replica.store.scanRowsMax = 2;
    for (const one of steps) this.step(one);
    this.watchers.drain(this.replica.hub);
    this.replica.catchUp();
    for (const watched of this.watchers.all.values()) {
      const expected = this.model.watch(watched.range, watched.start);
      if (watched.cancelled)
        expect(watched.events).toEqual(expected.slice(0, watched.events.length));
      else expect(watched.events).toEqual(expected);
    }
  }

  private step(one: Step): void {
    const { replica, model } = this;
    switch (one.kind) {
      case 'batch':
        this.batch(one.writes.filter((request) => validate(request, DEFAULT_LIMITS) === undefined));
        return;
      case 'range':
        expectSameRange(replica, model, one.range);
        return;
      case 'read-txn':
        expectSameReadTxn(replica, model, one.txn);
        return;
      case 'watch':
        this.watch(one);
        return;
      case 'fill':
        this.watchers.full = true;
        return;
      case 'drain':
        this.watchers.drain(replica.hub);
        return;
      case 'catch-up':
        replica.catchUp();
        return;
      case 'physical':
        expectSameAfterCompaction(replica);
        return;
      default:
        return;
    }
  }

  private batch(writes: readonly WriteRequest[]): void {
    const { replica, model } = this;
    const results = replica.batch(writes.map((request) => ({ request })));
    const expected = writes.map((request) => model.write(request));
    expectSameBatch(replica, model, results, expected);
  }

  private watch(one: Extract<Step, { kind: 'watch' }>): void {
    const { hub, engine } = this.replica;
    const id = this.watchers.all.size;
    const request = { key: one.key, rangeEnd: one.rangeEnd, startRevision: one.start };
    const added = hub.add(id, request, engine.revision);
    if (!added.ok) return;
    this.watchers.all.set(id, {
      range: { key: one.key, rangeEnd: one.rangeEnd },
      start: added.value.startRevision,
      events: [],
      lastRevision: added.value.startRevision - 1,
      cancelled: false,
    });
  }
}

describe('engine', () => {
  it('answers as the naive model, whatever is compacted or watched', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        new Pair().run(steps);
      }),
      { seed: SEED, numRuns: 250 },
    );
  });

  it('gives followers equal content, whenever they compact', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), { maxLength: 15 }),
        (batches) => {
          const leader = new TestReplica();
          const follower = new TestReplica();
          for (const writes of batches) {
            leader.batch(
              writes
                .filter((request) => validate(request, DEFAULT_LIMITS) === undefined)
                .map((request) => ({ request })),
            );
            if (leader.lastPayload === undefined) continue;
            follower.apply(leader.lastPayload);
            leader.compactPhysically();
          }
          const digest = leader.run(leader.engine.stateHash());
          expect(follower.run(follower.engine.stateHash())).toEqual(digest);
          follower.compactPhysically();
          expect(follower.run(follower.engine.stateHash())).toEqual(digest);
          expect(follower.store.keys().filter((text) => !text.startsWith('63'))).toEqual(
            leader.store.keys().filter((text) => !text.startsWith('63')),
          );
        },
      ),
      { seed: SEED, numRuns: 100 },
    );
  });

  it('keeps a reading to its revision while writes and compactions overtake it', () => {
    const later = fc.array(meanwhile, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(write, { minLength: 1, maxLength: 12 }),
        range,
        later,
        (first, request, queue) => {
          const race = new Race();
          race.send(first);
          const possible = [race.model.range(request)];
          const shown = race.overtaken(race.replica.engine.range(request), [...queue], () =>
            possible.push(race.model.range(request)),
          );
          const text = shown.ok ? showResponse(shown.value).join('\n') : errorName(shown.error);
          expect(possible).toContain(text);
          race.check();
        },
      ),
      { seed: SEED, numRuns: 200 },
    );
  });

  it('keeps a read-only txn and a batch of gets to one revision', () => {
    const later = fc.array(meanwhile, { minLength: 1, maxLength: 6 });
    const keys = fc.array(key, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(write, { minLength: 1, maxLength: 12 }),
        keys,
        later,
        (first, names, queue) => {
          const race = new Race();
          race.send(first);
          const success = names.map((name) => ({ op: 'range' as const, key: name }));
          const txn: TxnRequest = { op: 'txn', compare: [], success, failure: [] };
          const possible = [race.model.write(txn)];
          const note = (): number => possible.push(race.model.write(txn));
          const result = race.overtaken(race.replica.engine.readTxn(txn), [...queue], note);
          expect(possible).toContain(result.ok ? showResponse(result.value).join('\n') : 'error');
          const gets = race.overtaken(race.replica.engine.getBatch(names), [...queue], note);
          const responses = gets.kvs.map((kv) => {
            const kvs = kv === undefined ? [] : [kv];
            const { revision } = gets;
            return { op: 'range' as const, revision, kvs, more: false, count: kvs.length };
          });
          const { revision } = gets;
          const asTxn = showResponse({ op: 'txn', revision, succeeded: true, responses });
          expect(possible).toContain(asTxn.join('\n'));
          race.check();
        },
      ),
      { seed: SEED, numRuns: 200 },
    );
  });

  it('never removes a key that is written while its tombstone is compacted', () => {
    const later = fc.array(meanwhile, { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(write, { minLength: 3, maxLength: 12 }), later, (first, queue) => {
        const race = new Race();
        race.send([...first, { op: 'put', key: utf8('z'), value: utf8('1') }]);
        race.send([{ op: 'compact', revision: race.model.revision }]);
        const step = race.replica.engine.compactionStep();
        const writes = queue.map((one) => ({ ...one, compact: false }));
        const chunk = race.overtaken(step, writes, () => undefined);
        for (const storeKey of chunk.deletes) race.replica.store.delete(storeKey);
        race.check();
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});

const meanwhile = fc.record({
  writes: fc.array(write, { minLength: 1, maxLength: 3 }),
  compact: fc.boolean(),
});
type Meanwhile = { readonly writes: readonly WriteRequest[]; readonly compact: boolean };

/** A replica that goes on while one of its readings is under way. */
class Race {
  readonly model = new Model();
  readonly replica = new TestReplica();

  constructor() {
    this.replica.store.scanRowsMax = 3;
  }

  send(writes: readonly WriteRequest[]): void {
    const valid = writes.filter((one) => validate(one, DEFAULT_LIMITS) === undefined);
    this.replica.batch(valid.map((request) => ({ request })));
    for (const request of valid) this.model.write(request);
  }

  /** Drives a reading with something happening before each answer, and again after it. */
  overtaken<T>(reading: Reading<T>, queue: Meanwhile[], then: () => unknown): T {
    const proceed = (): void => {
      const one = queue.shift();
      if (one === undefined) return;
      this.send(one.writes);
      if (one.compact) {
        this.send([{ op: 'compact', revision: this.model.revision }]);
        this.replica.compactPhysically();
      }
      then();
    };
    let next = reading.next();
    while (next.done !== true) {
      const request = next.value;
      proceed();
      const answer: ReadAnswer = this.replica.store.answer(request);
      proceed();
      next = reading.next(answer);
    }
    return next.value;
  }

  /** Newest values through the cache, and everything through a scan. */
  check(): void {
    const { replica, model } = this;
    const requests: RangeRequest[] = KEYS.map((name) => ({ op: 'range', key: name }));
    requests.push({ op: 'range', key: new Uint8Array([0]), rangeEnd: RANGE_END_OPEN });
    for (const request of requests) {
      const result = replica.run(replica.engine.range(request));
      expect(result.ok && showResponse(result.value).join('\n')).toBe(model.range(request));
    }
  }
}

describe('write set rows', () => {
  it('are as many as the batch changed', () => {
    const replica = new TestReplica();
    replica.batch([{ request: { op: 'put', key: utf8('a'), value: utf8('1') } }]);
    const payload = replica.lastPayload ?? new Uint8Array(0);
    const other = new TestReplica();
    expect([...writeSetRows(other.apply(payload).writeSet)]).toHaveLength(1);
  });
});
