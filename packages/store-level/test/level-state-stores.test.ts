import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareBytes, fromUtf8, KvError, utf8 } from '@kvorum/base';
import type { StoreBatch } from '@kvorum/ports';
import { openLevelStores } from '@kvorum/store-level';
import { describeStateStoreContract } from '@kvorum/testkit';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
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

  const ALL = { gte: new Uint8Array(0), lt: new Uint8Array(16).fill(0xff) };
  const openRaw = async (name: string): Promise<Level<Uint8Array, Uint8Array>> => {
    const level = new Level<Uint8Array, Uint8Array>(join(directory, name), {
      keyEncoding: 'view',
      valueEncoding: 'view',
    });
    await level.open();
    return level;
  };
  const rawText = async (
    level: Level<Uint8Array, Uint8Array>,
    key: string,
  ): Promise<string | undefined> => {
    const value = await level.get(utf8(key));
    return value === undefined ? undefined : fromUtf8(value);
  };

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
    const level = await openRaw('failing');
    const store = new LevelStateStore(
      level,
      (step) => step(),
      () => undefined,
    );
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
    // Memory holds 'pending' and LevelDB does not: whatever was read now would be one of two truths.
    await expect(store.getMany([utf8('before')])).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
    await expect(store.scan(ALL, { limit: 9, bytesMax: 999 })).rejects.toMatchObject({
      code: 'KV_DATA_DIR',
    });
    const view = store.readView();
    await expect(view.getMany([utf8('before')])).rejects.toMatchObject({ code: 'KV_DATA_DIR' });
    await view.close();
    await store.close();
  });

  it('keeps the order of writes when the first is slow', async () => {
    const level = await openRaw('slow');
    const store = new LevelStateStore(
      level,
      (step) => step(),
      () => undefined,
    );
    const original = level.batch.bind(level);
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    Object.defineProperty(level, 'batch', {
      configurable: true,
      value: () => {
        Object.defineProperty(level, 'batch', { value: original });
        const batch = original();
        const write = batch.write.bind(batch);
        batch.write = () => released.then(() => write({ sync: true }));
        return batch;
      },
    });
    const put = (value: string): Promise<void> =>
      store.write((batch) => batch.put(utf8('key'), utf8(value)), { sync: true });
    const writes = [put('first'), put('second')];
    setImmediate(release);
    await Promise.all(writes);
    expect(await rawText(level, 'key')).toBe('second');
    await store.close();
  });

  it('keeps no reference to a Buffer either, whose slice would share its memory', async () => {
    const stores = openLevelStores({ directory });
    const store = await stores.open('shard-0');
    const value = Buffer.from('value');
    await store.write((batch) => batch.put(Buffer.from('key'), value), { sync: false });
    value.fill(0);
    const [read] = await store.getMany([utf8('key')]);
    expect(fromUtf8(read ?? utf8(''))).toBe('value');
    read?.fill(0);
    const [again] = await store.getMany([utf8('key')]);
    expect(fromUtf8(again ?? utf8(''))).toBe('value');
    await stores.close();
  });

  it('gives back the space of deleted rows, which LevelDB alone would keep', async () => {
    const stores = openLevelStores({ directory, tuning: { writeBufferBytes: 65_536 } });
    const store = await stores.open('reclaim');
    const key = (n: number): Uint8Array => utf8(`r${String(n).padStart(6, '0')}`);
    const each = (act: (batch: StoreBatch, n: number) => void): Promise<void> =>
      store.write(
        (batch) => {
          for (let n = 0; n < 2000; n += 1) act(batch, n);
        },
        { sync: true },
      );
    const value = new Uint8Array(4096).fill(1);
    await each((batch, n) => batch.put(key(n), value));
    const full = await store.sizeBytes();
    await each((batch, n) => {
      if (n % 100 !== 0) batch.delete(key(n));
    });
    await store.reclaim({ gte: utf8('r'), lt: utf8('s') });
    expect(await store.sizeBytes()).toBeLessThan(full / 10);
    const left = await store.scan({ gte: utf8('r'), lt: utf8('s') }, { limit: 100, bytesMax: 1e9 });
    expect(left.length).toBe(20);
    await stores.close();
  });

  it('brings unsynced writes to disk by itself', async () => {
    const level = await openRaw('quiet');
    const store = new LevelStateStore(
      level,
      (step) => step(),
      () => undefined,
    );
    await store.write((batch) => batch.put(utf8('key'), utf8('value')), { sync: false });
    await vi.waitFor(async () => expect(await rawText(level, 'key')).toBe('value'), {
      timeout: 10_000,
    });
    await store.close();
  });

  it('reads stores of either compression, and keeps compressible values smaller when asked', async () => {
    const value = new Uint8Array(4096).fill(0x61);
    const sizeWith = async (compression: boolean): Promise<number> => {
      const tuning = { compression, writeBufferBytes: 65_536 };
      const name = `compression-${compression}`;
      const writing = openLevelStores({ directory, tuning });
      const store = await writing.open(name);
      for (let i = 0; i < 200; i += 1) {
        await store.write((batch) => batch.put(utf8(`k${i}`), value), { sync: false });
      }
      await writing.close();
      // Opening turns the write-ahead log, which is never compressed, into a table.
      const measuring = openLevelStores({ directory, tuning });
      const bytes = await (await measuring.open(name)).sizeBytes();
      await measuring.close();
      const other = openLevelStores({ directory, tuning: { compression: !compression } });
      const read = await (await other.open(name)).getMany([utf8('k0'), utf8('k199')]);
      expect(read.every((found) => compareBytes(found ?? utf8(''), value) === 0)).toBe(true);
      await other.close();
      return bytes;
    };
    expect(await sizeWith(true)).toBeLessThan((await sizeWith(false)) / 2);
  });

  it.each(['', '.', '..', '../up', 'a/b', '.hidden'])('refuses the store name %j', (name) => {
    expect(() => openLevelStores({ directory }).open(name)).toThrow('plain file name');
  });
});
