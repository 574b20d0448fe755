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
async function etcdctlSnapshot(path: string): Promise<void> {
  const answer = await fetch(`${old.url}/v3/maintenance/snapshot`, { method: 'POST', body: '{}' });
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
    await etcdctlSnapshot(file('e.snapshot'));
    const status = await kvctl(['snapshot', 'status', file('e.snapshot'), '-w', 'json']);
    expect(JSON.parse(status.out)).toMatchObject({ revision: 6, shards: 1 });
    const fresh = await start(2, 2);
    const restored = await on(fresh, 'snapshot', 'restore', file('e.snapshot'));
    expect(restored.out).toMatch(/^restored 5 keys from 1 shards into 2/);
    expect((await on(fresh, 'get', 'k/3/x')).out).toBe('k/3/x\nv3\n');
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
