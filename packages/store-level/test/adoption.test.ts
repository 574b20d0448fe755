import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromUtf8, utf8 } from '@kvorum/base';
import { openLevelStores } from '@kvorum/store-level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

describe('the adoption of a side store, cut short by a crash', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kvorum-adoption-'));
    const stores = openLevelStores({ directory });
    const [main, side] = [await stores.open('0'), await stores.openSide('0')];
    await main.write((batch) => batch.put(utf8('a'), utf8('old')), { sync: true });
    await side.write((batch) => batch.put(utf8('a'), utf8('new')), { sync: true });
    await stores.close();
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const path = (name: string): string => join(directory, name);
  const found = async (): Promise<string | undefined> => {
    const stores = openLevelStores({ directory });
    const [value] = await (await stores.open('0')).getMany([utf8('a')]);
    await stores.close();
    return value === undefined ? undefined : fromUtf8(value);
  };

  it('leaves the former store before the marker stands', async () => {
    expect(await found()).toBe('old');
  });

  it('leaves the adopted store once the marker stands', async () => {
    await writeFile(path('0.adopt'), '');
    expect(await openLevelStores({ directory }).list()).toEqual(['0']);
    expect([await found(), await found()]).toEqual(['new', 'new']);
  });

  it('leaves the adopted store when the former one is gone, wholly or in part', async () => {
    await writeFile(path('0.adopt'), '');
    await rm(path('0/CURRENT'));
    expect(await found()).toBe('new');
  });

  it('leaves the adopted store when only the marker is left over', async () => {
    await writeFile(path('0.adopt'), '');
    await rm(path('0'), { recursive: true });
    await rename(path('0.side'), path('0'));
    expect([await found(), await found()]).toEqual(['new', 'new']);
  });

  it('lets nothing of a removed store come back', async () => {
    await writeFile(path('0.adopt'), '');
    await openLevelStores({ directory }).remove('0');
    expect(await found()).toBeUndefined();
  });
});
