import { fromUtf8, utf8 } from '@kvorum/base';
import type { StateStore } from '@kvorum/ports';
import { describeStateStoreContract, memoryStateStores } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';

describeStateStoreContract('memory', async () => {
  const stores = memoryStateStores();
  return {
    stores,
    reopen: async () => {
      await stores.close();
      return stores;
    },
    dispose: () => stores.close(),
  };
});

async function put(store: StateStore, key: string, sync: boolean): Promise<void> {
  await store.write((batch) => batch.put(utf8(key), utf8('v')), { sync });
}

async function keys(store: StateStore): Promise<readonly string[]> {
  const all = { gte: new Uint8Array(0), lt: Uint8Array.of(0xff) };
  const rows = await store.scan(all, { limit: 100, bytesMax: 1 << 20, keysOnly: true });
  return rows.map(([key]) => fromUtf8(key));
}

describe('a crash of the memory store', () => {
  it('loses a suffix of the unsynced writes, and only that', async () => {
    const stores = memoryStateStores();
    const store = await stores.open('s');
    await put(store, 'a', false);
    await put(store, 'b', true);
    for (const key of ['c', 'd', 'e']) await put(store, key, false);
    stores.crash((unsynced) => unsynced - 1);
    await expect(put(store, 'f', true)).rejects.toMatchObject({ code: 'KV_STOPPED' });
    const reopened = await stores.open('s');
    expect(await keys(reopened)).toEqual(['a', 'b', 'c', 'd']);
    await put(reopened, 'g', false);
    stores.crash();
    expect(await keys(await stores.open('s'))).toEqual(['a', 'b', 'c', 'd']);
  });

  it('leaves a view of another store and the durable rows apart', async () => {
    const stores = memoryStateStores();
    const store = await stores.open('s');
    await put(store, 'a', true);
    const view = store.readView();
    await put(store, 'b', true);
    await put(store, 'c', false);
    const [inView] = await view.getMany([utf8('b')]);
    expect(inView).toBeUndefined();
    stores.crash();
    expect(await keys(await stores.open('s'))).toEqual(['a', 'b']);
  });
});

describe('other faults of the memory store', () => {
  it('full: refuses writes and goes on once there is room', async () => {
    const stores = memoryStateStores();
    const store = await stores.open('s');
    stores.setFull(true);
    await expect(put(store, 'a', false)).rejects.toMatchObject({ code: 'KV_NO_SPACE' });
    stores.setFull(false);
    await put(store, 'b', false);
    expect(await keys(store)).toEqual(['b']);
  });

  it('damaged: reading the row fails, the others are there', async () => {
    const stores = memoryStateStores();
    const store = await stores.open('s');
    for (const key of ['a', 'b']) await put(store, key, true);
    expect(stores.damage('s', () => 0)).toBe(true);
    await expect(store.getMany([utf8('a')])).rejects.toMatchObject({ code: 'KV_CORRUPT' });
    await expect(keys(store)).rejects.toMatchObject({ code: 'KV_CORRUPT' });
    expect(await store.getMany([utf8('b')])).toEqual([utf8('v')]);
    stores.crash();
    const reopened = await stores.open('s');
    await expect(reopened.getMany([utf8('a')])).rejects.toMatchObject({ code: 'KV_CORRUPT' });
    await put(reopened, 'a', false);
    expect(await keys(reopened)).toEqual(['a', 'b']);
  });

  it('wiped: nothing is left', async () => {
    const stores = memoryStateStores();
    await put(await stores.open('s'), 'a', true);
    expect(stores.rows('s', 'durable')).toHaveLength(1);
    stores.wipe();
    expect(await keys(await stores.open('s'))).toEqual([]);
    expect(stores.damage('s', () => 0)).toBe(false);
  });

  it.each([
    [undefined, ['a']],
    [(changes: number): number => changes - 1, ['a', 'b']],
  ])('a torn write is lost whole, unless the contract is to be broken', async (tear, left) => {
    const stores = memoryStateStores(tear === undefined ? {} : { tear });
    const store = await stores.open('s');
    await put(store, 'a', true);
    await store.write(
      (batch) => {
        batch.put(utf8('b'), utf8('v'));
        batch.put(utf8('c'), utf8('v'));
      },
      { sync: false },
    );
    stores.crash();
    expect(await keys(await stores.open('s'))).toEqual(left);
  });
});
