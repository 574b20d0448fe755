import { decodeSnapshot } from '@kvorum/backup';
import { shardId } from '@kvorum/base';
import { openDirectoryStore } from '@kvorum/snapshot-store';
import { afterAll, expect, it } from 'vitest';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';

const directory = temporaryDirectory();
afterAll(() => directory.remove());

async function put(member: OneMember, value: string): Promise<void> {
  const answer = await fetch(`${member.url}/v1/kv/keys/k`, {
    method: 'PUT',
    headers: { 'content-type': 'text/plain' },
    body: value,
  });
  expect(answer.status).toBe(200);
}

const status = (member: OneMember) => member.member.host.copyStatus(shardId(0));

it('copies what changed, keeps the newest few, and says when and why not', async () => {
  const where = `${directory.path}/copies`;
  const settings = {
    shards: 1,
    'snapshots.store': where,
    'snapshots.intervalMs': 1000,
    'snapshots.keep': 2,
  };
  const member = await startOneMember(`${directory.path}/a`, settings);
  const store = openDirectoryStore(where);
  const names = async (): Promise<readonly string[]> =>
    (await store.list(shardId(0))).map(({ name }) => name);
  const seen = new Set<string>();
  await expect
    .poll(
      async () => {
        await put(member, String(seen.size));
        for (const name of await names()) seen.add(name);
        return seen.size;
      },
      { timeout: 15_000 },
    )
    .toBeGreaterThan(2);
  await expect.poll(async () => (await names()).length, { timeout: 5000 }).toBe(2);
  expect(Date.parse(status(member).copiedAt ?? '')).toBeGreaterThan(0);
  const [newest] = (await store.list(shardId(0))).slice(-1);
  if (newest === undefined) throw new TypeError('there is a newest copy');
  for await (const part of decodeSnapshot(store.load(newest))) {
    if (part.kind === 'header') expect(part.header.shard).toBe('0');
  }
  const metrics = await (await fetch(`${member.url}/metrics`)).text();
  expect(metrics).toMatch(/kv_snapshot_copies_total\{shard="0"\} [1-9]/);
  await member.stop();

  const settingsOfOther = { ...settings, clusterName: 'another' };
  const other = await startOneMember(`${directory.path}/b`, settingsOfOther);
  await expect
    .poll(() => status(other).copyError, { timeout: 10_000 })
    .toMatch(/has copies of cluster [0-9a-f]{16}, not [0-9a-f]{16}/);
  expect((await names()).length).toBe(2);
  await other.stop();
});
