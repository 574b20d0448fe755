import { DEFAULT_LIMITS, type KeyValue, NO_LEASE, revision, utf8 } from '@kvorum/base';
import { Engine, initialMeta } from '@kvorum/mvcc';
import { memoryStateStores } from '@kvorum/testkit';
import { expect, it } from 'vitest';
import type { PendingGet, ReadGroup } from '../src/read-path.ts';
import { StoreReads } from '../src/store-reads.ts';

const MIB = 1024 * 1024;
const value = new Uint8Array(MIB);

/** Reads of a store that holds a value of a megabyte under every key; `held`: values that were read and are not answered. */
async function largeStore() {
  const store = await memoryStateStores({}).open('reads');
  const state = { held: 0, heldMax: 0, answered: 0, turns: 0 };
  const engine = Engine.load(initialMeta(), DEFAULT_LIMITS);
  const kv = (key: Uint8Array): KeyValue => {
    state.held += 1;
    state.heldMax = Math.max(state.heldMax, state.held);
    const one = revision(1);
    return { key, value, createRevision: one, modRevision: one, version: 1, lease: NO_LEASE };
  };
  const reads = new StoreReads({
    engine: {
      *getBatch(keys) {
        yield { kind: 'get-many', keys: [] };
        return { revision: revision(1), kvs: keys.map(kv) };
      },
      range: (request, mapVersion) => engine.range(request, mapVersion),
      readTxn: (txn, mapVersion) => engine.readTxn(txn, mapVersion),
    },
    store,
    limits: DEFAULT_LIMITS,
    load: undefined,
    clock: {
      setTimer(_delayMs, callback) {
        state.turns += 1;
        queueMicrotask(callback);
        return () => undefined;
      },
    },
  });
  const get = (at: number): PendingGet => ({
    key: utf8(`${at}`),
    deadlineMs: 1000,
    done: () => {
      state.held -= 1;
      state.answered += 1;
    },
  });
  const group = (count: number): ReadGroup => ({
    gets: Array.from({ length: count }, (_, at) => get(at)),
    reads: [],
    barriers: [],
  });
  return { reads, state, group };
}

it('thousands of gets of large values are never held all at once', async () => {
  const { reads, state, group } = await largeStore();
  await reads.serve(group(3000));
  expect(state.answered).toBe(3000);
  expect(state.heldMax).toBeLessThanOrEqual(256);
  // Also a store that has everything in memory lets the event loop turn.
  expect(state.turns).toBeGreaterThan(100);
  state.heldMax = 0;
  await Promise.all(Array.from({ length: 200 }, () => reads.serve(group(20))));
  expect(state.answered).toBe(3000 + 200 * 20);
  expect(state.heldMax).toBeLessThanOrEqual(4 * 8);
});
