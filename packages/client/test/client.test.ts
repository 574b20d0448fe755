import { connect, type KvorumClient } from '@kvorum/client';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeCluster } from './support/fake-cluster.ts';

const open: { close(): Promise<void> }[] = [];
async function cluster(members: number, shards: number): Promise<FakeCluster> {
  const made = await FakeCluster.start(members, shards);
  open.push({ close: () => made.stop() });
  return made;
}
async function client(
  to: FakeCluster,
  options: Partial<Parameters<typeof connect>[0]> = {},
): Promise<KvorumClient> {
  const made = await connect({ endpoints: to.endpoints, ...options });
  open.unshift(made);
  return made;
}
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

describe('put and get', () => {
  it('stores text and bytes, and answers undefined for what is not there', async () => {
    const kv = await client(await cluster(1, 1));
    expect(await kv.put('a', '{"n":1}')).toMatchObject({ op: 'put', revision: 2, shard: '0' });
    const entry = await kv.get('a');
    expect(entry?.json()).toEqual({ n: 1 });
    expect(entry).toMatchObject({ createRevision: 2, modRevision: 2, version: 1, lease: 0n });
    expect(await kv.get(new Uint8Array([0xff, 0]))).toBeUndefined();
  });

  it('sends the commands of one tick to one shard in one frame', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    await Promise.all(Array.from({ length: 1000 }, (_, i) => kv.put(`k${i}`, 'v')));
    const frames = fake.member(0).sessions.flatMap((session) => session.frames);
    expect(frames.map((frame) => frame.items.length)).toEqual([1000]);
    expect(frames[0]?.ackedThrough).toBe(0);
    await kv.put('last', 'v');
    expect(fake.member(0).sessions.flatMap((session) => session.frames)[1]?.ackedThrough).toBe(
      1000,
    );
  });
});
