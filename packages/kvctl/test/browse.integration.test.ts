import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../server/test/support/dev-cluster.ts';
import { kvctl, type Ran } from './support/run-kvctl.ts';

let cluster: DevCluster;
let endpoints: string;
const KEYS = ['a', 'b/1', 'b/2', 'b/c/3', 'b/c/d/4', 'e/5'];

beforeAll(async () => {
  const started = await startDevCluster(4);
  cluster = started.cluster;
  endpoints = started.endpoint;
  for (const key of KEYS) await out('put', `t/${key}`, 'x'.repeat(key.length));
});
afterAll(async () => {
  await cluster.stop();
});

const on = (...args: readonly string[]): Promise<Ran> => kvctl(['--endpoints', endpoints, ...args]);
const out = async (...args: readonly string[]): Promise<string> => {
  const ran = await on(...args);
  expect(ran).toMatchObject({ code: 0, err: '' });
  return ran.out;
};
const refused = async (...args: readonly string[]): Promise<string> => {
  const ran = await on(...args);
  expect(ran).toMatchObject({ code: 3, out: '' });
  return ran.err;
};

describe('tree', () => {
  it('shows directories over all shards', async () => {
    expect(await out('tree', 't/')).toBe(
      `t/  6 keys
├─ a
├─ b/  4 keys
│  ├─ 1
│  ├─ 2
│  └─ c/  2 keys
│     ├─ 3
│     └─ d/  1 key
└─ e/  1 key
   └─ 5
`,
    );
    expect(await out('tree', 't/', '--depth', '1')).toBe(
      't/  6 keys\n├─ a\n├─ b/  4 keys\n└─ e/  1 key\n',
    );
    expect(await out('tree', 'nothing/')).toBe('nothing/  0 keys\n');
    expect(await out('tree')).toMatch(/^\. {2}\d+ keys\n(.|\n)*─ t\/ {2}6 keys\n/);
  });

  it('is nested in JSON', async () => {
    expect(JSON.parse(await out('tree', 't/b/', '--depth', '1', '-w', 'json'))).toEqual({
      name: 't/b/',
      keys: 4,
      children: [
        { name: '1', keys: 1 },
        { name: '2', keys: 1 },
        { name: 'c/', keys: 2 },
      ],
    });
  });
});

it('du counts keys and bytes, the largest directory first', async () => {
  expect(await out('du', 't/')).toBe('1 kB, 6 keys, t/\n1 kB, 4 keys, t/b/\n1 kB, 1 key, t/e/\n');
  const bytes = (keys: readonly string[]): number =>
    keys.reduce((sum, key) => sum + 2 + 2 * key.length, 0);
  expect(JSON.parse(await out('du', 't/', '--depth', '2', '-w', 'json'))).toEqual([
    { path: 't/', keys: 6, bytes: bytes(KEYS) },
    { path: 't/b/', keys: 4, bytes: bytes(KEYS.slice(1, 5)) },
    { path: 't/b/c/', keys: 2, bytes: bytes(KEYS.slice(3, 5)) },
    { path: 't/e/', keys: 1, bytes: bytes(KEYS.slice(5)) },
  ]);
});

describe('get --all-pages', () => {
  it('prints every page, over all shards in order', async () => {
    const all = KEYS.map((key) => `t/${key}\n${'x'.repeat(key.length)}\n`).join('');
    for (const size of ['1', '2', '6', '100']) {
      expect(await out('get', 't/', '--prefix', '--all-pages', '--limit', size)).toBe(all);
    }
    expect(await out('get', 't/b/', 't/b/c', '--all-pages', '--limit', '1', '--keys-only')).toBe(
      't/b/1\n\nt/b/2\n\n',
    );
    const pages = await out('get', 't/e/', '--from-key', '--all-pages', '-w', 'json');
    expect(JSON.parse(pages)).toMatchObject({ kvs: [{ key: 't/e/5' }], more: false });
  });

  it('is for ranges in key order', async () => {
    expect(await refused('get', 't/a', '--all-pages')).toContain('--all-pages is for ranges');
    expect(await refused('get', 't/', '--prefix', '--all-pages', '--sort-by', 'value')).toContain(
      'key order',
    );
  });
});

describe('the past of a key', () => {
  const revisionOf = async (key: string): Promise<number> => {
    const found = JSON.parse(await out('get', key, '-w', 'json')) as {
      kvs: { modRevision: number }[];
    };
    return found.kvs[0]?.modRevision ?? 0;
  };

  it('history shows its versions since it was created', async () => {
    await out('put', 'h/k', 'dead');
    await out('del', 'h/k');
    const revisions: number[] = [];
    for (const value of ['one', 'two', 'three']) {
      await out('put', 'h/k', value);
      revisions.push(await revisionOf('h/k'));
    }
    const [first, second, third] = revisions;
    expect(await out('history', 'h/k')).toBe(
      `${third}, 3, three\n${second}, 2, two\n${first}, 1, one\n`,
    );
    expect(await out('history', 'h/k', '--rev', String(second), '--limit', '1')).toBe(
      `${second}, 2, two\n`,
    );
    expect(await out('history', 'h/none')).toBe('');
  });

  it('diff shows what changed between two revisions', async () => {
    await out('put', '{f}/same', '1');
    await out('put', '{f}/old', '1');
    await out('put', '{f}/new', '1');
    const before = await revisionOf('{f}/new');
    await out('put', '{f}/new', '2');
    await out('put', '{f}/added', '1');
    await out('del', '{f}/old');
    const [written, added, old] = [before + 1, before + 2, before - 1];
    const changes = `+ {f}/added  ${added}\n~ {f}/new  ${before} -> ${written}\n- {f}/old  ${old}\n`;
    expect(await out('diff', '{f}/', '--rev', String(before))).toBe(changes);
    expect(await out('diff', '{f}/', '--rev', String(before), '--to', String(before))).toBe('');
    expect(
      await out('diff', '{f}/', '--rev', String(before), '--to', String(written), '-w', 'json'),
    ).toBe(`{"change":"changed","key":"{f}/new","before":${before},"after":${written}}\n`);
    expect(await refused('diff', '{f}/')).toContain('no --rev');
  });
});
