import { fromUtf8, utf8, type WatchEvent } from '@kvorum/base';
import {
  applyWriteSet,
  decodeWriteSet,
  Engine,
  initialMeta,
  type SlotCommand,
  WatchHub,
} from '@kvorum/mvcc';
import { expect, it } from 'vitest';
import { TestReplica } from './harness.ts';
import { copy, dropAll, handOver, MOVED, Shard, shown } from './moving-shard.ts';

it('a get of a key whose slot has left is refused, also while its rows are dropped', () => {
  const replica = new TestReplica();
  const space = {
    count: 2,
    ofKey: (key: Uint8Array) => (fromUtf8(key) === 'gone' ? 1 : 0),
    ofRange: () => undefined,
    startsEmpty: false,
  };
  const slots = { space, row: undefined };
  replica.engine = Engine.load(initialMeta(), replica.limits, slots);
  const take = (request: SlotCommand): void => {
    expect(replica.batch([{ request }])).toMatchObject([{ ok: true }]);
  };
  const keys = ['gone', 'here'].map(utf8);
  for (const key of keys) replica.batch([{ request: { op: 'put', key, value: key } }]);
  const step = { op: 'slots', move: 'm', mapVersion: 1 } as const;
  const [moved, owned] = [[[1, 1]], [[0, 1]]] as const;
  take({ ...step, action: 'freeze', attempt: 1, slots: moved, owned });
  take({ ...step, action: 'release' });

  // Its head is found, and then its rows go; memory takes the step on after the store.
  const reading = replica.engine.getBatch(keys);
  let answer = reading.next();
  if (answer.done === true) throw new Error('heads are read');
  const heads = replica.store.answer(answer.value);
  const drop = { op: 'slots', action: 'drop', move: 'm' } as const;
  const { payload } = replica.run(replica.engine.execute([{ request: drop }], 0));
  const decoded = decodeWriteSet(payload ?? new Uint8Array());
  if (!decoded.ok) throw decoded.error;
  applyWriteSet(decoded.value, replica.store);
  answer = reading.next(heads);
  while (answer.done !== true) answer = reading.next(replica.store.answer(answer.value));
  expect(answer.value.kvs.map((kv) => kv?.value)).toEqual([undefined, utf8('here')]);
  expect(answer.value.refused?.map((error) => error?.code)).toEqual(['KV_WRONG_SHARD', undefined]);
});

it('shows history once that was copied, given up and copied again, on a replica that compacts late', () => {
  const source = new Shard(false);
  const target = new Shard(false);
  source.put('a', '1');
  source.put('a', '2');
  const begin = { op: 'slots', action: 'import-begin', move: 'm', attempt: 1 } as const;
  target.must({ ...begin, slots: MOVED, owned: [[0, 0]] });
  copy(source, target, 10_000);
  target.must({ op: 'slots', action: 'discard', move: 'm' });
  for (const value of ['1', '2', '3']) target.put('d', value);
  target.run({ op: 'compact', revision: target.leader.engine.revision });
  target.leader.compactPhysically();
  dropAll(target);
  target.must({ ...begin, slots: MOVED, owned: [[0, 0]] });
  handOver(source, target, 1);
  target.must({ op: 'slots', action: 'adopt', move: 'm', mapVersion: 2 });
  for (const replica of [target.leader, target.follower]) {
    const seen: WatchEvent[] = [];
    const sink = {
      deliver: (_: number, { events }: { readonly events: readonly WatchEvent[] }) => {
        seen.push(...events);
        return true;
      },
      cancelled: (id: number) => expect.fail(`watch ${id} compacted`),
      moved: (id: number) => expect.fail(`watch ${id} moved`),
    };
    replica.hub = new WatchHub(sink, replica.engine);
    const request = {
      key: utf8('a'),
      rangeEnd: new Uint8Array(0),
      startRevision: 1,
      slots: MOVED,
    };
    expect(replica.hub.add(1, request, replica.engine.revision).ok).toBe(true);
    replica.catchUp();
    expect(shown(seen)).toEqual(['put a 1@2', 'put a 2@3']);
  }
});
