import { compare, op } from '@kvorum/client';
import { describe, expect, it } from 'vitest';
import { spanOf } from '../src/key-range.ts';
import { settingsOf } from '../src/options.ts';
import { mergeRanges } from '../src/range-merge.ts';
import { useClusters } from './support/clusters.ts';

const { cluster, client } = useClusters();
const keysOf = (entries: readonly { keyText(): string }[]): string[] =>
  entries.map((entry) => entry.keyText());
const names = Array.from({ length: 30 }, (_, i) => `user${String(i).padStart(2, '0')}`);

describe('getAll', () => {
  it('merges the shards in key order, and says at which revision each answered', async () => {
    const kv = await client(await cluster(2, 4));
    await Promise.all(names.map((name) => kv.put(name, name)));
    const all = await kv.getAll({ prefix: 'user' });
    expect(keysOf(all.entries)).toEqual(names);
    expect(all).toMatchObject({ count: 30, more: false });
    expect(all.shards.map(({ shard }) => shard)).toEqual(['0', '1', '2', '3']);
    const some = await kv.getAll({ prefix: 'user', limit: 7 });
    expect(keysOf(some.entries)).toEqual(names.slice(0, 7));
    expect(some).toMatchObject({ count: 30, more: true });
    const last = await kv.getAll({ prefix: 'user', limit: 2, sortOrder: 'descend' });
    expect(last.entries).toHaveLength(2);
  });

  it('pages through everything once', async () => {
    const kv = await client(await cluster(1, 4));
    await Promise.all(names.map((name) => kv.put(name, name)));
    const seen: string[] = [];
    for await (const entry of kv.scan({ from: 'user05', pageSize: 4 })) seen.push(entry.keyText());
    expect(seen).toEqual(names.slice(5));
    const few: string[] = [];
    for await (const entry of kv.scan({ all: true, pageSize: 4, limit: 6 }))
      few.push(entry.keyText());
    expect(few).toEqual(names.slice(0, 6));
  });

  it('leaves the prefix bytes it was given alone', () => {
    const prefix = Buffer.from('a');
    expect(spanOf({ prefix })).toEqual({ key: Buffer.from('a'), rangeEnd: new Uint8Array([0x62]) });
    expect(prefix.toString()).toBe('a');
  });

  it('refuses a revision for several shards, and a shard that does not exist', async () => {
    const kv = await client(await cluster(1, 2));
    await expect(kv.getAll({ all: true, revision: 3 })).rejects.toMatchObject({
      code: 'KV_CROSS_SHARD',
    });
    await expect(kv.getAll({ all: true, shard: '9' })).rejects.toMatchObject({
      code: 'KV_NOT_FOUND',
    });
    await expect(kv.getAll({} as { all: true })).rejects.toMatchObject({
      code: 'KV_INVALID_ARGUMENT',
    });
  });
});

describe('txn and delete', () => {
  it('go to the one shard of their keys', async () => {
    const kv = await client(await cluster(1, 4));
    const result = await kv
      .txn()
      .when(compare('{t}/a', 'version', '=', 0))
      .do(op.put('{t}/a', '1'), op.put('{t}/b', '2'))
      .otherwise(op.get('{t}/a'))
      .commit();
    expect(result.succeeded).toBe(true);
    expect(result.responses.map((response) => response.op)).toEqual(['put', 'put']);
  });

  it('are refused over several shards, with a hint', async () => {
    const kv = await client(await cluster(1, 4));
    const success = names.map((name) => op.put(name, 'v'));
    await expect(kv.txn({ success })).rejects.toMatchObject({
      code: 'KV_CROSS_SHARD',
      details: { hint: expect.stringContaining('"{user00}user00"') as string },
    });
    await expect(kv.delete({ all: true })).rejects.toMatchObject({ code: 'KV_CROSS_SHARD' });
    expect(await kv.deleteEachShard({ all: true })).toHaveLength(4);
  });
});

describe('the parts', () => {
  it('mergeRanges of nothing is empty', () => {
    expect(mergeRanges([], {})).toEqual({ entries: [], count: 0, more: false, shards: [] });
  });

  it.each(['ftp://x', 'http://', ''])('refuses the endpoint "%s"', (endpoint) => {
    expect(() => settingsOf({ endpoints: [endpoint] })).toThrow('is not an endpoint');
  });

  it('accepts host:port, and wants at least one endpoint', () => {
    const { endpoints } = settingsOf({ endpoints: ['a:1', 'http://a:1/', 'https://b'] });
    expect(endpoints).toEqual(['http://a:1', 'https://b']);
    expect(() => settingsOf({ endpoints: [] })).toThrow('at least one endpoint');
    expect(() => settingsOf({ endpoints: ['a:1'], timeoutMs: 0 })).toThrow('timeoutMs');
  });
});
