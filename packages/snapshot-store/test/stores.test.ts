import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shardId, utf8 } from '@kvorum/base';
import { openDirectoryStore, openSnapshotStore } from '@kvorum/snapshot-store';
import { describeSnapshotStoreContract, memorySnapshotStore } from '@kvorum/testkit';
import S3rver from 's3rver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const temporary = (): string => mkdtempSync(join(tmpdir(), 'kvorum-store-'));

describeSnapshotStoreContract('memory', async () => {
  const store = memorySnapshotStore();
  return { store, reopen: async () => store, dispose: () => store.close() };
});

describeSnapshotStoreContract('directory', async () => {
  const directory = temporary();
  return {
    store: openDirectoryStore(directory),
    reopen: async () => openDirectoryStore(directory),
    dispose: async () => rmSync(directory, { recursive: true }),
  };
});

describe('S3', () => {
  const directory = temporary();
  const server = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory,
    configureBuckets: [{ name: 'copies' }],
  });
  let endpoint = '';
  let opened = 0;
  beforeAll(async () => {
    const { port } = await server.run();
    endpoint = `http://127.0.0.1:${port}`;
    process.env['AWS_ACCESS_KEY_ID'] = 'S3RVER';
    process.env['AWS_SECRET_ACCESS_KEY'] = 'S3RVER';
  });
  afterAll(async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  });

  describeSnapshotStoreContract('s3', async () => {
    opened += 1;
    const settings = { store: `s3://copies/run/${opened}`, endpoint };
    const store = await openSnapshotStore(settings);
    const others: { close(): Promise<void> }[] = [store];
    return {
      store,
      reopen: async () => {
        const other = await openSnapshotStore(settings);
        others.push(other);
        return other;
      },
      dispose: async () => {
        for (const other of others) await other.close();
      },
    };
  });

  it('says what to check when the bucket is not there', async () => {
    const store = await openSnapshotStore({ store: 's3://nowhere/x', endpoint });
    await expect(store.shards()).rejects.toMatchObject({
      code: 'KV_BACKUP',
      details: { hint: expect.stringMatching('bucket') as string },
    });
    await store.close();
  });
});

describe('a directory', () => {
  it.skipIf(!existsSync('/proc/self'))('that cannot be made is said to be so', async () => {
    const store = openDirectoryStore('/proc/kvorum/copies');
    async function* content(): AsyncIterable<Uint8Array> {
      yield utf8('content');
    }
    const saved = store.save(shardId(0), 'x', content());
    await expect(saved).rejects.toMatchObject({ code: 'KV_BACKUP' });
  });

  it('leaves nothing behind of a copy that broke off', async () => {
    const directory = temporary();
    const store = openDirectoryStore(directory);
    async function* half(): AsyncIterable<Uint8Array> {
      yield utf8('half');
      throw new Error('gone');
    }
    await expect(store.save(shardId(0), 'x', half())).rejects.toThrow('gone');
    expect(readdirSync(join(directory, '0'))).toEqual([]);
    rmSync(directory, { recursive: true });
  });

  it('refuses a copy of another size than it wrote', async () => {
    const directory = temporary();
    const store = openDirectoryStore(directory);
    async function* content(): AsyncIterable<Uint8Array> {
      yield utf8('content');
    }
    const info = await store.save(shardId(0), 'x', content());
    truncateSync(join(directory, '0', 'x'), 3);
    const read = async (): Promise<void> => {
      for await (const _piece of store.load(info));
    };
    await expect(read()).rejects.toThrow('3 bytes, but 7 were written');
    rmSync(directory, { recursive: true });
  });
});

it.each([
  ['ftp://host/x', 'unknown kind ftp:'],
  ['dir://srv/copies', 'three slashes'],
  ['s3:///prefix', 'bucket is missing'],
  ['', 'it is empty'],
])('refuses the name "%s"', async (store, why) => {
  await expect(openSnapshotStore({ store })).rejects.toThrow(why);
});
