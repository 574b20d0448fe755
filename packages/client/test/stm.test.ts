import { describe, expect, it } from 'vitest';
import { useMember } from './support/member.ts';

const { kv, client } = useMember();

describe('a software transaction', () => {
  it('loses no update, however many run at once', async () => {
    const clients = [kv(), await client()];
    let runs = 0;
    const increment = (n: number): Promise<void> =>
      (clients[n % 2] ?? kv()).stm(
        async (tx) => {
          runs += 1;
          const count = Number((await tx.get('{stm}/count'))?.text() ?? '0');
          tx.put('{stm}/count', String(count + 1));
        },
        { attemptsMax: 1000 },
      );
    await Promise.all(Array.from({ length: 10 }, (_, n) => increment(n)));
    expect((await kv().get('{stm}/count'))?.text()).toBe('10');
    expect(runs).toBeGreaterThanOrEqual(10);
  });

  it('moves between keys all or nothing, and sees its own writes', async () => {
    await kv().put('{bank}/a', '100');
    const left = await kv().stm(async (tx) => {
      const a = Number((await tx.get('{bank}/a'))?.text());
      tx.put('{bank}/a', String(a - 30));
      tx.put('{bank}/b', '30');
      expect(await tx.get('{bank}/b')).toMatchObject({ version: 0, modRevision: 0 });
      tx.delete('{bank}/gone');
      expect(await tx.get('{bank}/gone')).toBeUndefined();
      return (await tx.get('{bank}/a'))?.text();
    });
    expect(left).toBe('70');
    const all = await kv().getAll({ prefix: '{bank}/' });
    expect(all.entries.map((entry) => entry.text())).toEqual(['70', '30']);
    expect(new Set(all.entries.map((entry) => entry.modRevision)).size).toBe(1);
  });

  it('reads everything of one revision', async () => {
    await kv().put('{snap}/a', '1');
    await kv().put('{snap}/b', '1');
    let attempts = 0;
    const seen = await kv().stm(async (tx) => {
      attempts += 1;
      const a = (await tx.get('{snap}/a'))?.text();
      if (attempts === 1) {
        await kv().put('{snap}/a', '2');
        await kv().put('{snap}/b', '2');
      }
      const b = (await tx.get('{snap}/b'))?.text();
      expect(a).toBe(b);
      tx.put('{snap}/c', `${a}${b}`);
      return attempts;
    });
    expect(seen).toBe(2);
    expect((await kv().get('{snap}/c'))?.text()).toBe('22');
  });

  it('reads that happen at once are of one revision, too, and only reads need no commit', async () => {
    const { revision } = await kv().put('{snap}/a', '3');
    const entries = await kv().stm((tx) =>
      Promise.all([tx.get('{snap}/a'), tx.get('{snap}/b'), tx.get('{snap}/a')]),
    );
    expect(entries.map((entry) => entry?.text())).toEqual(['3', '2', '3']);
    expect((await kv().put('{snap}/d', '')).revision).toBe(revision + 1);
  });

  it('is done anew when a key that it only writes has changed since its first reading', async () => {
    let attempts = 0;
    await kv().stm(async (tx) => {
      attempts += 1;
      await tx.get('{blind}/a');
      if (attempts === 1) await kv().put('{blind}/b', 'theirs');
      tx.put('{blind}/b', 'ours');
    });
    expect(attempts).toBe(2);
    await kv().stm((tx) => tx.put('{blind}/b', 'without a reading'));
    expect((await kv().get('{blind}/b'))?.text()).toBe('without a reading');
  });

  it('begins anew when its revision is compacted meanwhile', async () => {
    await kv().put('{old}/a', '1');
    let attempts = 0;
    const b = await kv().stm(async (tx) => {
      attempts += 1;
      await tx.get('{old}/a');
      if (attempts === 1) {
        await kv().put('{old}/b', '1');
        const { revision, shard } = await kv().put('{old}/b', '2');
        await kv().compact(revision, { shard });
      }
      return (await tx.get('{old}/b'))?.text();
    });
    expect([b, attempts]).toEqual(['2', 2]);
  });

  it('gives up at its bound, and says so', async () => {
    let attempts = 0;
    const work = kv().stm(
      async (tx) => {
        attempts += 1;
        await tx.get('{hot}/a');
        await kv().put('{hot}/a', String(attempts));
        tx.put('{hot}/a', 'never');
      },
      { attemptsMax: 3 },
    );
    await expect(work).rejects.toMatchObject({
      code: 'KV_CONFLICT',
      outcome: 'not-applied',
      details: { actual: 3, limit: 3 },
    });
    expect((await kv().get('{hot}/a'))?.text()).toBe('3');
  });

  it('writes nothing when the work fails, or is aborted', async () => {
    const failing = kv().stm((tx) => {
      tx.put('{fail}/a', '1');
      throw new RangeError('no');
    });
    await expect(failing).rejects.toThrow(RangeError);
    const stop = new AbortController();
    stop.abort();
    const stopped = kv().stm((tx) => tx.put('{fail}/a', '1'), { signal: stop.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'KV_CANCELLED', outcome: 'not-applied' });
    expect(await kv().get('{fail}/a')).toBeUndefined();
  });

  it('says which tag would bring its keys together', async () => {
    const keys = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => ({ i, shard: await kv().shardOf(`far-${i}`) })),
    );
    const other = keys.find(({ shard }) => shard !== keys[0]?.shard)?.i ?? 0;
    const work = kv().stm(async (tx) => {
      await tx.get('far-0');
      tx.put(`far-${other}`, '1');
    });
    await expect(work).rejects.toMatchObject({
      code: 'KV_CROSS_SHARD',
      details: { hint: expect.stringContaining('"{far-0}far-0"') as unknown },
    });
  });

  it('takes a lease, and nothing after its end', async () => {
    const lease = await kv().leases.grant({ ttlSeconds: 60 });
    let late: (() => void) | undefined;
    await kv().stm((tx) => {
      tx.put('{leased}/a', '1', { lease });
      late = () => tx.put('{leased}/b', '1');
    });
    expect((await kv().get('{leased}/a'))?.lease).toBe(lease.id);
    expect(() => late?.()).toThrow('the transaction is over');
    await lease.revoke();
    expect(await kv().get('{leased}/a')).toBeUndefined();
  });
});
