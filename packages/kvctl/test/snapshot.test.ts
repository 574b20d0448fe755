import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type OneMember,
  startOneMember,
  temporaryDirectory,
} from '../../server/test/support/one-member.ts';
import { kvctl, type Ran } from './support/run-kvctl.ts';

const files = temporaryDirectory();
const members: OneMember[] = [];

/** A cluster of one member; the n-th of this file. */
async function start(n: number, shards: number): Promise<OneMember> {
  const one = await startOneMember(join(files.path, `cluster-${n}`), { shards });
  members.push(one);
  return one;
}

let old: OneMember;
beforeAll(async () => {
  old = await start(0, 1);
  for (let i = 0; i < 5; i += 1) await on(old, 'put', `k/${i}/x`, `v${i}`);
});
afterAll(async () => {
  await Promise.all(members.map((one) => one.stop()));
  files.remove();
});

const on = (one: OneMember, ...args: readonly string[]): Promise<Ran> =>
  kvctl(['--endpoints', one.url, ...args]);
const file = (name: string): string => join(files.path, name);

/** What `etcdctl snapshot save` writes. */
async function etcdctlSnapshot(path: string, from: OneMember, token?: string): Promise<void> {
  const headers = token === undefined ? {} : { authorization: token };
  const url = `${from.url}/v3/maintenance/snapshot`;
  const answer = await fetch(url, { method: 'POST', body: '{}', headers });
  const lines = (await answer.text()).split('\n').filter((line) => line !== '');
  const blobs = lines.map((line) => {
    const { result } = JSON.parse(line) as { readonly result: { readonly blob?: string } };
    return Buffer.from(result.blob ?? '', 'base64');
  });
  writeFileSync(path, Buffer.concat(blobs));
}

describe('a snapshot', () => {
  it('is one file: saved, checked, and restored into a cluster of another shape', async () => {
    const saved = await on(old, 'snapshot', 'save', file('a.snapshot'));
    expect(saved).toMatchObject({ code: 0, out: `Snapshot saved at ${file('a.snapshot')}\n` });
    // Any tar can be looked into.
    const names = execFileSync('tar', ['tf', file('a.snapshot')]).toString();
    expect(names).toContain('snapshot.manifest.json\n');
    const status = await kvctl(['snapshot', 'status', file('a.snapshot')]);
    expect(status.out).toMatch(/^[0-9a-f]{8}, 6, \d+, \d+ kB, 1\n$/);
    const fresh = await start(1, 2);
    const restored = await on(fresh, 'snapshot', 'restore', file('a.snapshot'));
    expect(restored.out).toMatch(
      /^restored 5 keys from 1 shards into 2, at revision 1000000006\n$/,
    );
    expect((await on(fresh, 'get', 'k/', '--prefix')).out).toBe(
      (await on(old, 'get', 'k/', '--prefix')).out,
    );
  });

  it('of etcdctl is checked and restored too', async () => {
    await etcdctlSnapshot(file('e.snapshot'), old);
    const status = await kvctl(['snapshot', 'status', file('e.snapshot'), '-w', 'json']);
    expect(JSON.parse(status.out)).toMatchObject({ revision: 6, shards: 1 });
    const fresh = await start(2, 2);
    const restored = await on(fresh, 'snapshot', 'restore', file('e.snapshot'));
    expect(restored.out).toMatch(/^restored 5 keys from 1 shards into 2/);
    expect((await on(fresh, 'get', 'k/3/x')).out).toBe('k/3/x\nv3\n');
  });

  it('of etcdctl holds every shard', async () => {
    const four = await start(3, 4);
    const keys = ['a/1', 'b/1', 'c/1', 'd/1', 'e/1'];
    for (const key of keys) await on(four, 'put', key, key);
    await etcdctlSnapshot(file('four.snapshot'), four);
    const status = await kvctl(['snapshot', 'status', file('four.snapshot'), '-w', 'json']);
    expect(JSON.parse(status.out)).toMatchObject({ shards: 4 });
    const fresh = await start(4, 2);
    const restored = await on(fresh, 'snapshot', 'restore', file('four.snapshot'));
    expect(restored.out).toMatch(/^restored 5 keys from 4 shards into 2/);
    expect((await on(fresh, 'get', '', '--prefix', '--keys-only')).out).toBe(
      (await on(four, 'get', '', '--prefix', '--keys-only')).out,
    );
  });

  it('that is damaged, cut off or of something else is refused with what to do', async () => {
    const status = (name: string): Promise<Ran> => kvctl(['snapshot', 'status', file(name)]);
    for (const name of ['a.snapshot', 'e.snapshot']) {
      const bytes = readFileSync(file(name));
      bytes.writeUInt8(bytes.readUInt8(700) ^ 1, 700);
      writeFileSync(file('bad'), bytes);
      expect((await status('bad')).code).toBeGreaterThan(0);
      writeFileSync(file('cut'), readFileSync(file(name)).subarray(0, 1500));
      expect((await status('cut')).code).toBeGreaterThan(0);
    }
    const bbolt = Buffer.alloc(4096);
    bbolt.write('edda0ced', 16, 'hex');
    writeFileSync(file('bbolt'), bbolt);
    expect(await status('bbolt')).toMatchObject({ code: 3 });
    expect((await status('bbolt')).err).toContain('etcdctl make-mirror');
    writeFileSync(file('text'), 'hello');
    expect(await status('text')).toMatchObject({ code: 3 });
    expect(await status('gone')).toMatchObject({ code: 6 });
    const nowhere = await on(old, 'snapshot', 'save', file('no/such/place'));
    expect(nowhere).toMatchObject({ code: 6 });
  });
});

describe('a snapshot of a cluster with authorization', () => {
  const root = ['--user', 'root:secret'];
  let guarded: OneMember;
  beforeAll(async () => {
    guarded = await start(10, 2);
    await on(guarded, 'put', 'open/x', '1');
    const shop = { stdin: 'shop-secret\n' };
    const interactive = ['user', 'add', '--interactive=false'];
    await kvctl(['--endpoints', guarded.url, ...interactive, 'shop'], shop);
    await kvctl(['--endpoints', guarded.url, ...interactive, 'root'], { stdin: 'secret\n' });
    await on(guarded, 'role', 'add', 'orders');
    await on(guarded, 'role', 'grant-permission', 'orders', 'readwrite', 'orders/', '--prefix');
    await on(guarded, 'user', 'grant-role', 'shop', 'orders');
    await on(guarded, 'user', 'grant-role', 'root', 'root');
    expect(await on(guarded, 'auth', 'enable')).toMatchObject({ code: 0 });
    await on(guarded, ...root, 'put', 'orders/1', 'paid');
    expect(await on(guarded, ...root, 'snapshot', 'save', file('guarded'))).toMatchObject({
      code: 0,
    });
    const { token } = (await (
      await fetch(`${guarded.url}/v3/auth/authenticate`, {
        method: 'POST',
        body: JSON.stringify({ name: 'root', password: 'secret' }),
      })
    ).json()) as { readonly token: string };
    await etcdctlSnapshot(file('guarded-by-etcdctl'), guarded, token);
  });

  it.each([
    { name: 'guarded', n: 11 },
    { name: 'guarded-by-etcdctl', n: 12 },
  ])('is restored with users, roles and the switch: $name', async ({ name, n }) => {
    const fresh = await start(n, 3);
    const restored = await on(fresh, ...root, 'snapshot', 'restore', file(name));
    expect(restored.out).toContain('restored 2 keys from 2 shards into 3');
    expect(restored.out).toContain(
      'authorization is enabled, as it was, with 2 users and 1 roles\n',
    );
    expect((await on(fresh, 'get', 'open/x')).err).toContain('user name is empty');
    const shop = ['--user', 'shop:shop-secret'];
    expect((await on(fresh, ...shop, 'get', 'orders/1')).out).toBe('orders/1\npaid\n');
    expect((await on(fresh, ...shop, 'get', 'open/x')).err).toContain('permission denied');
    for (const asked of [
      ['user', 'get', 'shop'],
      ['role', 'get', 'orders'],
    ]) {
      expect((await on(fresh, ...root, ...asked)).out).toBe(
        (await on(guarded, ...root, ...asked)).out,
      );
    }
    // The same once more, as after an answer that was lost.
    const again = await on(fresh, ...root, 'snapshot', 'restore', file(name), '--resume');
    expect(again).toMatchObject({ code: 0 });
  });

  it('is not restored by somebody who could not log in afterwards, and leaves no trace then', async () => {
    const fresh = await start(13, 1);
    for (const user of [[], ['--user', 'root:wrong'], ['--user', 'shop:shop-secret']]) {
      const refused = await on(fresh, ...user, 'snapshot', 'restore', file('guarded'));
      expect(refused.code).toBeGreaterThan(0);
      expect(refused.err).toContain('--without-auth');
    }
    expect((await on(fresh, 'auth', 'status')).out).toContain('Authentication Status: false');
    const restored = await on(fresh, 'snapshot', 'restore', file('guarded'), '--without-auth');
    expect(restored.out).toMatch(/^restored 2 keys from 2 shards into 1.*\n$/);
    expect(restored.err).toContain('users and roles stay behind');
    expect((await on(fresh, 'get', 'open/x')).out).toBe('open/x\n1\n');
  });

  it('does not go into a cluster with users of its own', async () => {
    const fresh = await start(14, 1);
    await on(fresh, 'role', 'add', 'own');
    const refused = await on(fresh, ...root, 'snapshot', 'restore', file('guarded'));
    expect(refused.err).toContain('has users or roles of its own');
    expect(await on(fresh, 'get', '', '--prefix')).toMatchObject({ out: '' });
  });
});
