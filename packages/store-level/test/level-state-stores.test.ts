import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KvError, utf8 } from '@kvorum/base';
import { openLevelStores } from '@kvorum/store-level';
import { describeStateStoreContract } from '@kvorum/testkit';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LevelStateStore } from '../src/level-state-store.ts';

const removeDirectory = (directory: string): Promise<void> =>
  rm(directory, { recursive: true, force: true });

describeStateStoreContract('level', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kvorum-store-'));
  const first = openLevelStores({ directory });
  let current = first;
  return {
    stores: first,
    reopen: async () => {
      await current.close();
      current = openLevelStores({ directory });
      return current;
    },
    dispose: async () => {
      await current.close();
      await removeDirectory(directory);
    },
  };
});

describe('openLevelStores', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kvorum-store-'));
  });
  afterEach(() => removeDirectory(directory));

  const failureOf = async (promise: Promise<unknown>): Promise<KvError> => {
    const outcome = await promise.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(outcome instanceof KvError)) return expect.fail(`no KvError: ${String(outcome)}`);
    return outcome;
  };

  it('names the other process when the directory is locked', async () => {
    const holder = openLevelStores({ directory });
    await holder.open('shard-0');
    const error = await failureOf(openLevelStores({ directory }).open('shard-0'));
    expect(error.code).toBe('KV_DATA_DIR');
    expect(error.message).toContain(join(directory, 'shard-0'));
    expect(error.message).toContain('another process uses it');
    expect(error.details.hint).toBe('Stop that process, or give each kvd its own data directory.');
    await holder.close();
  });

  it('recognises a damaged database and says how to go on', async () => {
    const stores = openLevelStores({ directory });
    const store = await stores.open('shard-0');
    await store.write((batch) => batch.put(utf8('a'), utf8('1')), { sync: true });
    await stores.close();
    const files = await readdir(join(directory, 'shard-0'));
    const manifest = files.find((name) => name.startsWith('MANIFEST')) ?? 'none';
    await writeFile(join(directory, 'shard-0', manifest), 'not a manifest at all, just noise');
    const error = await failureOf(openLevelStores({ directory }).open('shard-0'));
    expect(error.code).toBe('KV_DATA_DIR');
    expect(error.message).toContain('it is damaged');
  });

  it('refuses a path that is a file', async () => {
    await mkdir(join(directory, 'data'));
    await writeFile(join(directory, 'data', 'shard-0'), 'a file');
    const error = await failureOf(
      openLevelStores({ directory: join(directory, 'data') }).open('shard-0'),
    );
    expect(error.code).toBe('KV_DATA_DIR');
  });

  it('waits for a store being opened when it is closed, and opens none after', async () => {
    const stores = openLevelStores({ directory });
    const opening = stores.open('shard-0');
    await stores.close();
    const store = await opening;
    await expect(store.getMany([utf8('a')])).rejects.toMatchObject({ code: 'KV_STOPPED' });
    await expect(stores.open('shard-1')).rejects.toMatchObject({ code: 'KV_STOPPED' });
  });

  it('finishes the writes under way before it closes', async () => {
    const stores = openLevelStores({ directory });
    const store = await stores.open('shard-0');
    const writes = Array.from({ length: 20 }, (_, i) =>
      store.write((batch) => batch.put(utf8(`k${i}`), utf8('v')), { sync: false }),
    );
    await store.close();
    await Promise.all(writes);
    const reopened = await stores.open('shard-0');
    const keys = Array.from({ length: 20 }, (_, i) => utf8(`k${i}`));
    expect((await reopened.getMany(keys)).every((value) => value !== undefined)).toBe(true);
    await stores.close();
  });

  it('loses only a suffix in a crash, and nothing from before a synced write', async () => {
    const stores = openLevelStores({ directory });
    const store = await stores.open('shard-0');
    const put = (key: string, sync: boolean): Promise<void> =>
      store.write((batch) => batch.put(utf8(key), utf8('v')), { sync });
    const early = ['k0', 'k1', 'k2'];
    const late = ['k4', 'k5', 'k6'];
    for (const key of early) await put(key, false);
    await put('k3', true);
    for (const key of late) await put(key, false);
    // What a killed process leaves behind is what the files hold at that moment.
    await cp(join(directory, 'shard-0'), join(directory, 'crashed'), { recursive: true });
    await rm(join(directory, 'crashed', 'LOCK'));
    const crashed = await stores.open('crashed');
    const found = await crashed.getMany([...early, 'k3', ...late].map(utf8));
    const kept = found.indexOf(undefined);
    expect(kept === -1 ? found.length : kept).toBeGreaterThanOrEqual(4);
    expect(kept === -1 || found.slice(kept).every((value) => value === undefined)).toBe(true);
    await stores.close();
  });

  it('takes no write after a failed one, which would leave a hole', async () => {
    const level = new Level<Uint8Array, Uint8Array>(join(directory, 'failing'), {
      keyEncoding: 'view',
      valueEncoding: 'view',
    });
    await level.open();
    const store = new LevelStateStore(level, () => undefined);
    const put = (key: string, sync: boolean): Promise<void> =>
      store.write((batch) => batch.put(utf8(key), utf8('v')), { sync });
    const original = level.batch.bind(level);
    const full = (): unknown => {
      const batch = original();
      batch.write = () => Promise.reject(new Error('No space left on device'));
      return batch;
    };
    await put('before', true);
    Object.defineProperty(level, 'batch', { value: full, configurable: true });
    await put('pending', false);
    await expect(put('lost', true)).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
    Object.defineProperty(level, 'batch', { value: original });
    await expect(put('after', true)).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
    await expect(put('after', false)).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
    const keys = ['before', 'pending', 'lost', 'after'].map(utf8);
    const found = await store.getMany(keys);
    expect(found.map((value) => value !== undefined)).toEqual([true, true, false, false]);
    await store.close();
  });

  it.each(['', '.', '..', '../up', 'a/b', '.hidden'])('refuses the store name %j', (name) => {
    expect(() => openLevelStores({ directory }).open(name)).toThrow('plain file name');
  });
});
