import { KvError } from '@kvorum/base';
import type { Watch, WatchEvent } from '@kvorum/client';
import { describe, expect, it } from 'vitest';
import { useClusters } from './support/clusters.ts';

const { cluster, client } = useClusters();

async function take(watch: Watch, count: number): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  while (events.length < count) {
    const next = await watch.next();
    if (next.done === true) break;
    events.push(next.value);
  }
  return events;
}
const brief = (events: readonly WatchEvent[]): string[] =>
  events.map(
    ({ type, kv, shard }) => `${type} ${kv.keyText()}=${kv.text()} ${shard}@${kv.modRevision}`,
  );

describe('watch', () => {
  it('delivers what happens from now on, or from a revision', async () => {
    const kv = await client(await cluster(1, 1));
    await kv.put('a', '1');
    const now = await kv.watch('a');
    const past = await kv.watch({ prefix: 'a' }, { startRevision: 2 });
    await now.ready;
    await kv.put('a', '2');
    await kv.put('b', '2');
    expect(brief(await take(now, 1))).toEqual(['put a=2 0@3']);
    expect(brief(await take(past, 2))).toEqual(['put a=1 0@2', 'put a=2 0@3']);
    expect(past.resumeAt()).toEqual({ '0:0-16383': 4 });
  });

  it('goes on at another member without gap or duplicate', async () => {
    const fake = await cluster(3, 1);
    const kv = await client(fake);
    const watch = await kv.watch({ prefix: 'k' });
    await watch.ready;
    for (let i = 0; i < 5; i += 1) await kv.put(`k${i}`, 'v');
    await fake.member(0).stop();
    fake.lead('0', fake.member(1), true);
    for (let i = 5; i < 10; i += 1) await kv.put(`k${i}`, 'v');
    const revisions = (await take(watch, 10)).map((event) => event.kv.modRevision);
    expect(revisions).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('joins the streams of several shards, each in its own order', async () => {
    const kv = await client(await cluster(2, 4));
    const watch = await kv.watch({ all: true });
    await watch.ready;
    for (let i = 0; i < 40; i += 1) await kv.put(`key${i}`, 'v');
    const events = await take(watch, 40);
    for (const shard of ['0', '1', '2', '3']) {
      const seen = events
        .filter((event) => event.shard === shard)
        .map((event) => event.kv.modRevision);
      expect(seen).toEqual(seen.map((_, i) => i + 2));
    }
    expect(Object.keys(watch.resumeAt())).toEqual([
      '0:0-4095',
      '1:4096-8191',
      '2:8192-12287',
      '3:12288-16383',
    ]);
  });

  it('reports a compacted start with the first revision that is left', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    await kv.put('a', '1');
    fake.store.compacted.set('0', 7);
    const watch = await kv.watch('a', { startRevision: 2 });
    const error = await watch.next().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(KvError);
    expect(error).toMatchObject({ code: 'KV_COMPACTED', details: { compactRevision: 7 } });
    await expect(watch.ready).rejects.toThrow(KvError);
    expect(await watch.next()).toEqual({ done: true, value: undefined });
  });

  it('ends by break, by close and by its signal', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    const broken = await kv.watch('a', { startRevision: 1 });
    await kv.put('a', '1');
    for await (const event of broken) {
      expect(event.kv.text()).toBe('1');
      break;
    }
    const closed = await kv.watch('a');
    const end = closed.next();
    closed.close();
    expect(await end).toEqual({ done: true, value: undefined });
    const controller = new AbortController();
    const aborted = await kv.watch('a', { signal: controller.signal });
    const failure = aborted.next().catch((caught: unknown) => caught);
    controller.abort();
    expect(await failure).toMatchObject({ code: 'KV_CANCELLED', outcome: 'not-applied' });
    await expect.poll(() => fake.store.listeners.size).toBe(0);
  });

  it('holds a bounded number of events for a slow consumer and fetches the rest later', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    const watch = await kv.watch({ prefix: 'k' });
    await watch.ready;
    const total = 12_000;
    await Promise.all(Array.from({ length: total }, (_, i) => kv.put(`k${i}`, 'v')));
    await expect.poll(() => fake.store.listeners.size).toBe(0); // it told the member to stop
    const revisions = (await take(watch, total)).map((event) => event.kv.modRevision);
    expect(revisions).toEqual(Array.from({ length: total }, (_, i) => i + 2));
  });

  it('refuses one start revision for several timelines', async () => {
    const kv = await client(await cluster(1, 2));
    await expect(kv.watch({ all: true }, { startRevision: 5 })).rejects.toMatchObject({
      code: 'KV_CROSS_SHARD',
    });
  });
});
