import { compare, connect, type KvorumClient, op, type WatchEvent } from '@kvorum/client';
import type { DevCluster } from '@kvorum/server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startDevCluster } from '../../server/test/support/dev-cluster.ts';

let cluster: DevCluster;
let kv: KvorumClient;

beforeEach(async () => {
  const started = await startDevCluster(2);
  cluster = started.cluster;
  kv = await connect({ endpoints: [started.endpoint] });
});
afterEach(async () => {
  await kv.close();
  await cluster.stop();
});

describe('against real members', () => {
  it('does what a key-value store does', async () => {
    expect(await kv.get('a')).toBeUndefined();
    const { revision, shard } = await kv.put('a', '1');
    expect(shard).toBe(await kv.shardOf('a'));
    expect(await kv.get('a')).toMatchObject({ modRevision: revision, version: 1 });
    expect((await kv.put('a', '2', { prevKv: true })).prevKv?.text()).toBe('1');
    expect((await kv.get('a', { revision }))?.text()).toBe('1');
    const swap = kv
      .txn()
      .when(compare('a', 'value', '=', '2'))
      .do(op.put('a', '3'));
    expect(await swap.commit()).toMatchObject({ succeeded: true });
    expect(await swap.commit()).toMatchObject({ succeeded: false });
    expect(await kv.delete('a')).toMatchObject({ deleted: 1 });
    await Promise.all(Array.from({ length: 200 }, (_, i) => kv.put(`many${i}`, String(i))));
    expect(await kv.getAll({ prefix: 'many', countOnly: true })).toMatchObject({ count: 200 });
    let scanned = 0;
    for await (const entry of kv.scan({ prefix: 'many', pageSize: 32 })) scanned += entry.version;
    expect(scanned).toBe(200);
  });

  it('applies every put once, and shows each event once, while its leader is stopped', async () => {
    const key = 'counted';
    const shard = await kv.shardOf(key);
    const watch = await kv.watch(key);
    await watch.ready;
    const leader = (await kv.shards()).find((one) => one.shard === shard)?.leader;
    const member = cluster.members.find((one) => one.host.memberId === leader);
    let stopped: Promise<void> | undefined;
    const puts = 300;
    for (let i = 0; i < puts; i += 1) {
      if (i === 100) stopped = member?.stop();
      await kv.put(key, String(i));
    }
    await stopped;
    expect(await kv.get(key)).toMatchObject({ version: puts });
    const events: WatchEvent[] = [];
    while (events.length < puts) {
      const next = await watch.next();
      if (next.done !== true) events.push(next.value);
    }
    expect(events.map(({ kv: entry }) => entry.version)).toEqual(
      Array.from({ length: puts }, (_, i) => i + 1),
    );
    const status = await kv.status();
    expect(status.filter(({ error }) => error !== undefined)).toHaveLength(1);
  });
});
