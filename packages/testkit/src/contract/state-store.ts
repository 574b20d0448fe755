import { compareBytes, fromUtf8, utf8 } from '@kvorum/base';
import type { StateReader, StateStore, StateStores, StoreRange, StoreRow } from '@kvorum/ports';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededRng } from '../seeded-rng.ts';
import { describeImages } from './store-image.ts';

/** A fresh, empty set of stores and what removes it. `reopen` yields the same data through a new StateStores. */
export interface StateStoreFixture {
  readonly stores: StateStores;
  reopen(): Promise<StateStores>;
  dispose(): Promise<void>;
}

const SYNC = { sync: true };
const NO_SYNC = { sync: false };
const ALL: StoreRange = { gte: new Uint8Array(0), lt: new Uint8Array(16).fill(0xff) };
const NO_LIMIT = { limit: 1_000_000, bytesMax: 1 << 30 };

const texts = (rows: readonly StoreRow[]): readonly string[] =>
  rows.map(([key, value]) => `${fromUtf8(key)}=${fromUtf8(value)}`);

async function getText(store: StateReader, ...keys: string[]): Promise<(string | undefined)[]> {
  const values = await store.getMany(keys.map(utf8));
  return values.map((value) => (value === undefined ? undefined : fromUtf8(value)));
}

async function put(store: StateStore, rows: Record<string, string>, sync = false): Promise<void> {
  await store.write(
    (batch) => {
      for (const [key, value] of Object.entries(rows)) batch.put(utf8(key), utf8(value));
    },
    { sync },
  );
}

/** Runs the same tests over any StateStores; called from a test file of the adapter. */
export function describeStateStoreContract(
  name: string,
  createFixture: () => Promise<StateStoreFixture>,
): void {
  describe(`StateStore contract: ${name}`, () => {
    let fixture: StateStoreFixture;
    let store: StateStore;
    beforeEach(async () => {
      fixture = await createFixture();
      store = await fixture.stores.open('shard-0');
    });
    afterEach(() => fixture.dispose());

    describe('writes', () => describeWrites(() => store));
    describe('scans', () => describeScans(() => store));
    describe('views', () => describeViews(() => store));
    describe('lifecycle', () => describeLifecycle(() => ({ fixture, store })));
    describe('side stores', () => describeSideStores(() => ({ fixture, store })));
    describe('images', () => describeImages(() => ({ fixture, store })));
    describe('model', () => describeModel(() => store));
  });
}

function describeWrites(store: () => StateStore): void {
  it('returns values in the order of the keys and undefined for missing ones', async () => {
    await put(store(), { b: '2', a: '1' });
    expect(await getText(store(), 'a', 'missing', 'b', 'a')).toEqual(['1', undefined, '2', '1']);
    expect(await store().getMany([])).toEqual([]);
  });

  it('answers few keys and many keys alike', async () => {
    const rows = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`k${i}`, `v${i}`]));
    await put(store(), rows);
    for (const count of [1, 7, 8, 9, 16, 17, 200]) {
      const keys = Object.keys(rows).slice(0, count);
      expect(await getText(store(), ...keys)).toEqual(keys.map((key) => rows[key]));
    }
  });

  it('lets later operations of one batch win', async () => {
    await store().write((batch) => {
      batch.put(utf8('a'), utf8('first'));
      batch.delete(utf8('a'));
      batch.put(utf8('b'), utf8('first'));
      batch.put(utf8('b'), utf8('second'));
      batch.delete(utf8('never there'));
    }, SYNC);
    expect(await getText(store(), 'a', 'b')).toEqual([undefined, 'second']);
  });

  it('applies writes in the order they were called, also when none was awaited', async () => {
    const writes = Array.from({ length: 50 }, (_, i) => put(store(), { a: String(i) }));
    await Promise.all(writes);
    expect(await getText(store(), 'a')).toEqual(['49']);
  });

  it('writes nothing when filling the batch fails', async () => {
    const failure = new RangeError('planned');
    const write = store().write((batch) => {
      batch.put(utf8('a'), utf8('1'));
      throw failure;
    }, NO_SYNC);
    await expect(write).rejects.toBe(failure);
    await put(store(), { b: '1' });
    expect(await getText(store(), 'a', 'b')).toEqual([undefined, '1']);
  });

  it('accepts an empty batch, synced or not', async () => {
    await store().write(() => undefined, NO_SYNC);
    await store().write(() => undefined, SYNC);
    expect(await store().scan(ALL, NO_LIMIT)).toEqual([]);
  });

  it('keeps no reference to the caller’s buffers, and hands out buffers of the caller’s own', async () => {
    const key = utf8('key');
    const value = utf8('value');
    const written = store().write((batch) => batch.put(key, value), NO_SYNC);
    key.fill(0);
    value.fill(0);
    await written;
    const [read] = await store().getMany([utf8('key')]);
    read?.fill(0);
    const [row] = await store().scan(ALL, NO_LIMIT);
    row?.[1].fill(0);
    expect(await getText(store(), 'key')).toEqual(['value']);
  });

  it('keeps empty values and any key bytes apart', async () => {
    const keys = [Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(0xff), utf8('é')];
    await store().write((batch) => {
      for (const key of keys) batch.put(key, new Uint8Array(0));
    }, NO_SYNC);
    const values = await store().getMany(keys);
    expect(values.map((value) => value?.length)).toEqual([0, 0, 0, 0]);
  });
}

function describeScans(store: () => StateStore): void {
  beforeEach(() => put(store(), { a: '1', b: '22', c: '333', d: '4444' }));
  const range = (gte: string, lt: string): StoreRange => ({ gte: utf8(gte), lt: utf8(lt) });

  it('scans a half-open range in byte order', async () => {
    expect(texts(await store().scan(range('b', 'd'), NO_LIMIT))).toEqual(['b=22', 'c=333']);
    expect(texts(await store().scan(range('bb', 'cc'), NO_LIMIT))).toEqual(['c=333']);
    expect(await store().scan(range('x', 'z'), NO_LIMIT)).toEqual([]);
    expect(await store().scan(range('c', 'b'), NO_LIMIT)).toEqual([]);
  });

  it('scans backwards', async () => {
    const rows = await store().scan(range('a', 'd'), { ...NO_LIMIT, reverse: true });
    expect(texts(rows)).toEqual(['c=333', 'b=22', 'a=1']);
  });

  it('stops at the limit', async () => {
    expect(texts(await store().scan(ALL, { ...NO_LIMIT, limit: 2 }))).toEqual(['a=1', 'b=22']);
    const back = await store().scan(ALL, { ...NO_LIMIT, limit: 1, reverse: true });
    expect(texts(back)).toEqual(['d=4444']);
  });

  it('stops after the row that reaches bytesMax, with one row at least', async () => {
    const scan = async (bytesMax: number): Promise<number> =>
      (await store().scan(ALL, { limit: 10, bytesMax })).length;
    expect(await Promise.all([0, 1, 2, 3, 5, 6, 1000].map(scan))).toEqual([1, 1, 1, 2, 2, 3, 4]);
  });

  it('leaves values empty, and out of the count of bytes, when only keys are asked for', async () => {
    const rows = await store().scan(ALL, { limit: 10, bytesMax: 3, keysOnly: true });
    expect(texts(rows)).toEqual(['a=', 'b=', 'c=']);
  });

  it('returns rows beyond any internal chunk', async () => {
    await store().write((batch) => {
      for (let i = 0; i < 3000; i += 1) {
        batch.put(utf8(`n${String(i).padStart(4, '0')}`), new Uint8Array(500));
      }
    }, NO_SYNC);
    const rows = await store().scan(range('n', 'o'), NO_LIMIT);
    expect([rows.length, fromUtf8(rows[2999]?.[0] ?? utf8(''))]).toEqual([3000, 'n2999']);
  });
}

function describeViews(store: () => StateStore): void {
  it('a read view does not see later writes', async () => {
    await put(store(), { a: 'old', b: 'old' });
    const view = store().readView();
    await store().write((batch) => {
      batch.put(utf8('a'), utf8('new'));
      batch.delete(utf8('b'));
      batch.put(utf8('c'), utf8('new'));
    }, NO_SYNC);
    expect(await getText(view, 'a', 'b', 'c')).toEqual(['old', 'old', undefined]);
    const many = Array.from({ length: 40 }, () => 'a');
    expect(new Set(await getText(view, ...many))).toEqual(new Set(['old']));
    expect(texts(await view.scan(ALL, NO_LIMIT))).toEqual(['a=old', 'b=old']);
    await view.close();
    await view.close();
    expect(await getText(store(), 'a', 'b', 'c')).toEqual(['new', undefined, 'new']);
  });
}

interface Opened {
  readonly fixture: StateStoreFixture;
  readonly store: StateStore;
}

function describeLifecycle(opened: () => Opened): void {
  it('keeps stores of different names apart', async () => {
    const { fixture, store } = opened();
    const other = await fixture.stores.open('shard-1');
    await put(store, { a: '1' });
    expect(await getText(other, 'a')).toEqual([undefined]);
  });

  it('refuses to open a store twice with KV_DATA_DIR', async () => {
    const { fixture } = opened();
    await expect(fixture.stores.open('shard-0')).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
  });

  it('finds its data again after close and open', async () => {
    const { fixture, store } = opened();
    await put(store, { a: '1' });
    await store.close();
    expect(await getText(await fixture.stores.open('shard-0'), 'a')).toEqual(['1']);
  });

  it('finds its data again through new StateStores', async () => {
    const { fixture, store } = opened();
    await put(store, { a: '1' });
    const stores = await fixture.reopen();
    expect(await getText(await stores.open('shard-0'), 'a')).toEqual(['1']);
  });

  it('answers KV_STOPPED after close, and closing twice is harmless', async () => {
    const { fixture, store } = opened();
    const view = store.readView();
    await store.close();
    await store.close();
    const stopped = { code: 'KV_STOPPED' };
    await expect(store.getMany([utf8('a')])).rejects.toMatchObject(stopped);
    await expect(store.scan(ALL, NO_LIMIT)).rejects.toMatchObject(stopped);
    await expect(put(store, { a: '1' })).rejects.toMatchObject(stopped);
    await expect(store.sizeBytes()).rejects.toMatchObject(stopped);
    await expect(store.reclaim(ALL)).rejects.toMatchObject(stopped);
    await expect(view.getMany([utf8('a')])).rejects.toMatchObject(stopped);
    expect(() => store.readView()).toThrow(expect.objectContaining(stopped));
    await view.close();
    await fixture.stores.close();
  });

  it('closes its stores with itself', async () => {
    const { fixture, store } = opened();
    await fixture.stores.close();
    await expect(store.getMany([utf8('a')])).rejects.toMatchObject({ code: 'KV_STOPPED' });
  });

  it('keeps what was not deleted when it reclaims space, and takes writes meanwhile', async () => {
    const { store } = opened();
    await put(store, { a: '1', b: '2', c: '3' });
    await store.write((batch) => batch.delete(utf8('b')), { sync: false });
    const reclaimed = store.reclaim(ALL);
    await put(store, { d: '4' });
    await reclaimed;
    expect(await getText(store, 'a', 'b', 'c', 'd')).toEqual(['1', undefined, '3', '4']);
  });

  it('reports a size that grows with the data', async () => {
    const { store } = opened();
    const before = await store.sizeBytes();
    await put(store, { a: 'x'.repeat(100_000) }, true);
    expect(await store.sizeBytes()).toBeGreaterThan(before);
  });
}

function describeSideStores(opened: () => Opened): void {
  it('keeps a side store apart from its store, and as it was left', async () => {
    const { fixture, store } = opened();
    await put(store, { a: 'main' });
    const side = await fixture.stores.openSide('shard-0');
    expect(await getText(side, 'a')).toEqual([undefined]);
    await put(side, { a: 'side' });
    await side.close();
    expect(await getText(store, 'a')).toEqual(['main']);
    const stores = await fixture.reopen();
    expect(await getText(await stores.openSide('shard-0'), 'a')).toEqual(['side']);
    expect(await getText(await stores.open('shard-0'), 'a')).toEqual(['main']);
  });

  it('adopts a side store in place of its store, for good', async () => {
    const { fixture, store } = opened();
    await put(store, { a: 'main', gone: '1' }, true);
    const side = await fixture.stores.openSide('shard-0');
    await put(side, { a: 'side' });
    await side.close();
    await store.close();
    await fixture.stores.adoptSide('shard-0');
    const adopted = await fixture.stores.open('shard-0');
    expect(await getText(adopted, 'a', 'gone')).toEqual(['side', undefined]);
    const empty = await fixture.stores.openSide('shard-0');
    expect(await empty.scan(ALL, NO_LIMIT)).toEqual([]);
    const stores = await fixture.reopen();
    expect(await getText(await stores.open('shard-0'), 'a')).toEqual(['side']);
  });

  it('adopts a side store where no store was', async () => {
    const { fixture } = opened();
    const side = await fixture.stores.openSide('shard-1');
    await put(side, { a: 'side' });
    await side.close();
    await fixture.stores.adoptSide('shard-1');
    expect(await getText(await fixture.stores.open('shard-1'), 'a')).toEqual(['side']);
  });

  it('removes a side store alone, and a store with its side store', async () => {
    const { fixture, store } = opened();
    await put(store, { a: 'main' });
    await put(await fixture.stores.openSide('shard-1'), { a: 'side' });
    const side = await fixture.stores.openSide('shard-0');
    await put(side, { a: 'side' });
    await side.close();
    await fixture.stores.removeSide('shard-0');
    expect(await getText(store, 'a')).toEqual(['main']);
    await store.close();
    await fixture.stores.remove('shard-0');
    expect(await fixture.stores.list()).not.toContain('shard-0');
    expect(await (await fixture.stores.open('shard-0')).scan(ALL, NO_LIMIT)).toEqual([]);
    await fixture.stores.remove('never-there');
    await fixture.stores.removeSide('never-there');
  });

  it('lists its stores, open or not, without side stores', async () => {
    const { fixture, store } = opened();
    await put(store, { a: '1' });
    await store.close();
    await fixture.stores.open('shard-7');
    await (await fixture.stores.openSide('shard-7')).close();
    expect([...(await fixture.stores.list())].sort()).toEqual(['shard-0', 'shard-7']);
  });

  it('refuses to adopt or remove what is open', async () => {
    const { fixture } = opened();
    await expect(fixture.stores.remove('shard-0')).rejects.toThrow('is open');
    await expect(fixture.stores.adoptSide('shard-0')).rejects.toThrow('is open');
    await fixture.stores.openSide('shard-0');
    await expect(fixture.stores.removeSide('shard-0')).rejects.toThrow('is open');
  });

  it('syncs what was written before', async () => {
    const { store } = opened();
    await put(store, { a: '1' });
    await store.sync();
    expect(await getText(store, 'a')).toEqual(['1']);
  });
}

function describeModel(store: () => StateStore): void {
  it('agrees with a sorted map over random operations', async () => {
    const rng = seededRng(20_240_229);
    const model = new Map<string, string>();
    const key = (): string => `k${rng.integer(0, 30)}`;
    const sorted = (): string[] =>
      [...model]
        .sort(([a], [b]) => compareBytes(utf8(a), utf8(b)))
        .map(([k, value]) => `${k}=${value}`);
    for (let round = 0; round < 60; round += 1) {
      await store().write(
        (batch) => {
          for (let i = rng.integer(0, 8); i > 0; i -= 1) {
            const k = key();
            if (rng.integer(0, 3) === 0) {
              batch.delete(utf8(k));
              model.delete(k);
            } else {
              batch.put(utf8(k), utf8(`${round}.${i}`));
              model.set(k, `${round}.${i}`);
            }
          }
        },
        { sync: round % 10 === 0 },
      );
      const keys = Array.from({ length: rng.integer(1, 20) }, key);
      expect(await getText(store(), ...keys)).toEqual(keys.map((k) => model.get(k)));
      expect(texts(await store().scan(ALL, NO_LIMIT))).toEqual(sorted());
    }
  });

  it('reads what was written at any moment, while it is synced and scanned', async () => {
    for (let round = 0; round < 30; round += 1) {
      let underWay = 2;
      const ended = (): void => {
        underWay -= 1;
      };
      const key = `k${round}`;
      const synced = put(store(), { other: key }, true).then(ended);
      await put(store(), { [key]: key });
      const scanned = store().scan(ALL, NO_LIMIT).then(ended);
      while (underWay > 0) {
        expect(await getText(store(), key)).toEqual([key]);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all([synced, scanned]);
    }
  });
}
