import { appendFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromUtf8, utf8 } from '@kvorum/base';
import type { StateReader, StateStore, StateStores, StoreImage } from '@kvorum/ports';
import { openLevelStores } from '@kvorum/store-level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { linkFiles } from '../src/linked-files.ts';

/** A buffer so small that tables are written and merged all the time. */
const SMALL = { writeBufferBytes: 65_536 };
const ALL = { gte: new Uint8Array(0), lt: new Uint8Array(16).fill(0xff) };
const NO_LIMIT = { limit: 1_000_000, bytesMax: 1 << 30 };
const NO_NOTE = new Uint8Array(0);

let directory: string;
let stores: StateStores;
let store: StateStore;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kvorum-images-'));
  stores = openLevelStores({ directory, tuning: SMALL });
  store = await stores.open('0');
});
afterEach(async () => {
  await stores.close();
  await rm(directory, { recursive: true, force: true });
});

const path = (...names: readonly string[]): string => join(directory, ...names);
const put = (key: string, value: string): Promise<void> =>
  store.write((batch) => batch.put(utf8(key), utf8(value)), { sync: false });
const rowsOf = async (reader: StateReader): Promise<readonly string[]> =>
  (await reader.scan(ALL, NO_LIMIT)).map(([key, value]) => `${fromUtf8(key)}=${fromUtf8(value)}`);

async function churn(round: number): Promise<void> {
  for (let i = 0; i < 40; i += 1) {
    await put(`k${(i * 37 + round * 11) % 500}`, `${round}.${i}.${'v'.repeat(4000)}`);
  }
}

async function receive(name: string, image: StoreImage, to: number): Promise<void> {
  const side = await stores.receiveSide(name, image.layout, NO_NOTE);
  await side.write(await image.read(0, to));
  await side.save(utf8('half'));
  await side.close();
}

async function finish(name: string, image: StoreImage): Promise<readonly string[]> {
  const side = await stores.resumeSide(name);
  if (side === undefined) return expect.fail('nothing to go on with');
  await side.write(await image.read(side.received, image.bytes));
  await side.complete(NO_NOTE);
  await side.close();
  const opened = await stores.openSide(name);
  const rows = await rowsOf(opened);
  await opened.close();
  return rows;
}

/** The file that the middle of an image is in, and a later one. */
async function halfReceived(): Promise<{ image: StoreImage; rows: readonly string[] }> {
  for (let round = 0; round < 6; round += 1) await churn(round);
  const { image, view } = await store.image();
  const rows = await rowsOf(view);
  await view.close();
  await receive('copy', image, Math.floor(image.bytes / 2));
  return { image, rows };
}

describe('an image of a LevelDB', () => {
  it('is what the store was, while tables are written and merged all the time', async () => {
    await churn(0);
    let writing = true;
    let round = 1;
    const writer = (async (): Promise<void> => {
      for (; writing; round += 1) {
        await churn(round);
        if (round % 5 === 4) await store.reclaim(ALL);
      }
    })();
    for (let i = 0; i < 4; i += 1) {
      const { image, view } = await store.image();
      await receive('copy', image, Math.floor(image.bytes / 2));
      const rows = await finish('copy', image);
      expect(rows.length).toBeGreaterThan(0);
      expect(rows).toEqual(await rowsOf(view));
      await view.close();
      await image.close();
    }
    writing = false;
    await writer;
    expect(round).toBeGreaterThan(1);
    expect(await readdir(path('0.images'))).toEqual([]);
  });

  it('keeps its files, and only as long as it is open', async () => {
    const { image, rows } = await halfReceived();
    await store.write(
      (batch) => {
        for (let i = 0; i < 500; i += 1) batch.delete(utf8(`k${i}`));
      },
      { sync: false },
    );
    await store.reclaim(ALL);
    expect(await finish('copy', image)).toEqual(rows);
    await image.close();
    expect(await readdir(path('0.images'))).toEqual([]);
  });

  it('is refused when merges never stop for as long as the links take', async () => {
    await mkdir(path('busy'));
    await writeFile(path('busy', 'CURRENT'), 'MANIFEST-000002\n');
    let merging = true;
    const merge = (): void => {
      appendFileSync(path('busy', 'MANIFEST-000002'), 'x');
      if (merging) setImmediate(merge);
    };
    merge();
    const linking = linkFiles(path('busy'), path('links'), (step) => step());
    await expect(linking).rejects.toMatchObject({ code: 'KV_UNAVAILABLE' });
    merging = false;
  });

  it('leaves nothing behind when the process is killed', async () => {
    await put('a', '1');
    await store.close();
    await mkdir(path('0.images', '3'), { recursive: true });
    await writeFile(path('0.images', '3', '000005.ldb'), 'of a killed process');
    await stores.open('0');
    expect(await readdir(directory)).toEqual(['0']);
    expect(await stores.list()).toEqual(['0']);
  });
});

describe('a side store that receives an image, cut short by a crash', () => {
  it('goes on where it was saved, whatever was written behind', async () => {
    const { image, rows } = await halfReceived();
    const received = (await readdir(path('copy.side'))).sort();
    const tables = (await readdir(path('0.images', '1'))).sort();
    for (const name of received) {
      const bytes = await readFile(path('copy.side', name));
      const whole = await readFile(path('0.images', '1', name));
      // The one that was being written when the machine went down.
      if (bytes.length < whole.length) {
        await writeFile(path('copy.side', name), Buffer.concat([bytes, Buffer.alloc(9000, 7)]));
      }
    }
    const next = tables.find((name) => !received.includes(name)) ?? expect.fail('no later file');
    await writeFile(path('copy.side', next), 'a beginning that was never saved');
    expect(await finish('copy', image)).toEqual(rows);
  });

  it('begins anew when a file that was saved is gone or shorter', async () => {
    const { image, rows } = await halfReceived();
    const [first = ''] = (await readdir(path('copy.side'))).sort();
    await writeFile(path('copy.side', first), 'short');
    expect(await stores.resumeSide('copy')).toBeUndefined();
    await rm(path('copy.side', first));
    expect(await stores.resumeSide('copy')).toBeUndefined();
    await receive('copy', image, 10);
    expect(await finish('copy', image)).toEqual(rows);
  });

  it('is not opened before it counts as whole, be CURRENT there already', async () => {
    const { image, rows } = await halfReceived();
    await writeFile(path('copy.side', 'CURRENT'), await readFile(path('0', 'CURRENT')));
    await expect(stores.openSide('copy')).rejects.toThrow('not whole');
    expect(await finish('copy', image)).toEqual(rows);
  });

  it('keeps no file of an earlier image when it was only just begun', async () => {
    const { image, rows } = await halfReceived();
    await cp(path('copy.side'), path('rest'), { recursive: true });
    await (await stores.receiveSide('copy', image.layout, NO_NOTE)).close();
    await cp(path('rest'), path('copy.side'), { recursive: true });
    // A log of a later number would be replayed over the image.
    await writeFile(path('copy.side', '999999.log'), 'left over');
    const side = await stores.resumeSide('copy');
    expect([side?.received, await readdir(path('copy.side'))]).toEqual([0, []]);
    await side?.close();
    expect(await finish('copy', image)).toEqual(rows);
  });

  it('takes a record of another version for none', async () => {
    await halfReceived();
    await writeFile(path('copy.received'), '{"version":2}');
    expect(await stores.resumeSide('copy')).toBeUndefined();
    await writeFile(path('copy.received'), 'no record');
    expect(await stores.resumeSide('copy')).toBeUndefined();
  });
});

describe('the layout of an image', () => {
  const layout = (current: string, ...files: readonly (readonly [string, number])[]): Uint8Array =>
    utf8(JSON.stringify({ form: 'leveldb', version: 1, current, files }));
  const manifest = ['MANIFEST-000002', 10] as const;

  it.each([
    ['a path', layout('MANIFEST-000002\n', manifest, ['../../000001.ldb', 1])],
    ['another file', layout('MANIFEST-000002\n', manifest, ['CURRENT', 1])],
    ['a negative length', layout('MANIFEST-000002\n', manifest, ['000001.ldb', -1])],
    ['an empty file', layout('MANIFEST-000002\n', manifest, ['000001.ldb', 0])],
    ['a name twice', layout('MANIFEST-000002\n', manifest, manifest)],
    ['another CURRENT', layout('../MANIFEST-000002\n', manifest)],
    ['no manifest', layout('MANIFEST-000002\n', ['000001.ldb', 1])],
  ])('is refused with %s', async (_, bytes) => {
    const refused = stores.receiveSide('copy', bytes, NO_NOTE);
    await expect(refused).rejects.toMatchObject({ code: 'KV_CORRUPT' });
    expect(await readdir(directory)).toEqual(['0']);
  });
});
