import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KvError, type TxnOp } from '@kvorum/base';
import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type OneMember,
  startOneMember,
  temporaryDirectory,
} from '../../server/test/support/one-member.ts';
import { type Change, MirrorUpdates } from '../src/mirror-updates.ts';
import { kvctl, type Ran, type Surroundings } from './support/run-kvctl.ts';

const directory = temporaryDirectory();
const other = temporaryDirectory();
let from: OneMember;
let to: OneMember;
let source: KvorumClient;
let copy: KvorumClient;

beforeAll(async () => {
  from = await startOneMember(directory.path, { shards: 3 });
  to = await startOneMember(other.path, { shards: 2 });
  source = await connect({ endpoints: [from.url] });
  copy = await connect({ endpoints: [to.url] });
});
afterAll(async () => {
  await source.close();
  await copy.close();
  await from.stop();
  await to.stop();
  directory.remove();
  other.remove();
});

const mirror = (flags: readonly string[], around?: Surroundings): Promise<Ran> =>
  kvctl(['--endpoints', from.url, 'make-mirror', to.url, ...flags], around);

/** Keys without the prefix, with their values. */
async function all(client: KvorumClient, prefix: string): Promise<Record<string, string>> {
  const { entries } = await client.getAll({ prefix });
  return Object.fromEntries(
    entries.map((entry) => [entry.keyText().slice(prefix.length), entry.text()]),
  );
}

describe('make-mirror', () => {
  it('copies what differs once, under another prefix, and deletes only when told so', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => source.put(`a/${i}/k`, `v${i}`)));
    await copy.put('b/1/k', 'other');
    await copy.put('b/extra', 'x');
    const flags = ['--prefix', 'a/', '--dest-prefix', 'b/', '--once'];
    expect(await mirror(flags)).toEqual({ code: 0, out: '20\n', err: '' });
    const wanted = await all(source, 'a/');
    expect(await all(copy, 'b/')).toEqual({ ...wanted, extra: 'x' });
    const { revision } = await copy.put('probe', '');
    expect(await mirror([...flags, '--prune'])).toMatchObject({ code: 0, out: '1\n' });
    expect(await all(copy, 'b/')).toEqual(wanted);
    expect((await copy.put('probe', '')).revision).toBeLessThanOrEqual(revision + 2);
    expect(await mirror(['--prefix', 'a/', '--no-dest-prefix', '--once', '--prune'])).toMatchObject(
      {
        code: 3,
      },
    );
    expect(await mirror(['--prefix', 'a/', '--no-dest-prefix', '--once'])).toMatchObject({
      code: 0,
    });
    expect((await copy.get('7/k'))?.text()).toBe('v7');
  });

  it('follows every shard, and goes on where it stood', async () => {
    const state = join(other.path, 'state.json');
    const flags = ['--prefix', 'f/', '--state', state];
    /** Until the copy has what the source has; then it is interrupted. */
    const untilSame = async (): Promise<Ran> => {
      const interrupt = new AbortController();
      const ran = mirror(flags, { signal: interrupt.signal });
      await expect
        .poll(async () => [await all(copy, 'f/'), readState()], { timeout: 15_000 })
        .toEqual([await all(source, 'f/'), expect.objectContaining({ prefix: 'f/' })]);
      interrupt.abort();
      return ran;
    };
    const readState = (): unknown => {
      try {
        return JSON.parse(readFileSync(state, 'utf8'));
      } catch {
        return undefined;
      }
    };
    for (let i = 0; i < 12; i += 1) await source.put(`f/${i}/k`, 'old');
    expect(await untilSame()).toMatchObject({ code: 5, err: 'copied: changes follow\n' });
    // What happens while it is away.
    for (let i = 0; i < 6; i += 1) await source.put(`f/${i}/k`, 'new');
    for (let i = 6; i < 9; i += 1) await source.delete(`f/${i}/k`);
    await source
      .txn()
      .do(...ops('f/{t}a', 'f/{t}b'))
      .commit();
    expect(await untilSame()).toMatchObject({ code: 5, err: '' });
    expect(await mirror(['--prefix', 'g/', '--state', state])).toMatchObject({ code: 3 });
    // History that it needs is gone.
    await source.put('f/1/k', 'again');
    for (const { shard, revision } of await source.shards()) {
      if (revision > 1 && shard !== 'meta') await source.compact(revision, { shard });
    }
    writeFileSync(state, readFileSync(state, 'utf8').replace(/":\d+/g, '":2'));
    const gone = await mirror(flags);
    expect(gone).toMatchObject({ code: 4 });
    expect(gone.err).toMatch(/KV_COMPACTED.*Next: {2}remove .*--prune/s);
  });

  it('ends when its time is over, and refuses itself', async () => {
    const ran = await kvctl([
      ...['--timeout', '1500ms', '--endpoints', from.url],
      ...['make-mirror', to.url, '--prefix', '{t}', '--rev', '1000', '--max-txn-ops', '2'],
    ]);
    expect(ran).toMatchObject({ code: 0, out: '0\n' });
    const self = await kvctl(['--endpoints', from.url, 'make-mirror', from.url, '--prefix', 'a']);
    expect(self).toMatchObject({ code: 3 });
    expect(self.err).toContain('the same cluster, and the prefixes overlap');
  });
});

const ops = (...keys: readonly string[]): TxnOp[] =>
  keys.map((key) => ({ op: 'put', key: Buffer.from(key), value: Buffer.from('v') }));

describe('changes on their way', () => {
  const change = (revision: number, key: string, shard = '0'): Change => ({
    ...{ shard, revision, key: Buffer.from(key), value: Buffer.from(String(revision)) },
  });
  /** Two shards, by the first letter; keeps what it was told. */
  class Destination {
    readonly told: string[] = [];
    async shardOf(key: string | Uint8Array): Promise<string> {
      return Buffer.from(key).toString() < 'm' ? '0' : '1';
    }
    async put(key: string | Uint8Array) {
      this.told.push(Buffer.from(key).toString());
      if (this.told.at(-1) === 'bad') throw new KvError('KV_NO_SPACE');
      return { op: 'put' as const, revision: 1 as never, shard: '0' };
    }
    delete = () => Promise.reject(new Error('nothing is deleted'));
    txn = ((init: { success: readonly { key: Uint8Array }[] }) => {
      this.told.push(init.success.map(({ key }) => Buffer.from(key).toString()).join('+'));
      return Promise.resolve();
    }) as never;
  }
  async function* listed(changes: readonly Change[]): AsyncGenerator<Change> {
    yield* changes;
  }
  const call = () => ({ signal: new AbortController().signal, timeoutMs: 1000 });

  it('are together by whole revisions, while keys differ and are in one shard', async () => {
    const to = new Destination();
    let done = 0;
    const count = (changes: number): void => {
      done += changes;
    };
    const options = { opsMax: 4, call, done: count };
    const changes = [
      ...[change(1, 'a'), change(2, 'b'), change(3, 'c'), change(3, 'd'), change(4, 'e')],
      ...[change(4, 'f'), change(5, 'e'), change(6, 'x'), change(7, 'y')],
    ];
    await new MirrorUpdates(to, options).follow(listed(changes), () => () => undefined);
    expect(to.told).toEqual(['a+b+c+d', 'e+f', 'e', 'x+y']);
    expect(done).toBe(9);
  });

  it('end with the first that cannot be put', async () => {
    const to = new Destination();
    const updates = new MirrorUpdates(to, { opsMax: 1, call, done: () => undefined });
    const changes = [change(1, 'bad'), change(2, 'b')];
    await expect(updates.follow(listed(changes), () => () => undefined)).rejects.toThrow(
      'database space exceeded',
    );
    expect(to.told).toEqual(['bad']);
  });
});
