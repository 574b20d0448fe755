import { compare, type Lock, op } from '@kvorum/client';
import { describe, expect, it } from 'vitest';
import { AnswerCutter } from './support/answer-cutter.ts';
import { useMember } from './support/member.ts';

const { kv, client, url } = useMember();
/** For a machine that has much else to do. */
const WAIT = { timeout: 30_000 };

const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });

const waiters = async (name: string): Promise<number> =>
  (await kv().getAll({ prefix: `${name}/` })).count;

/** A call of etcd's JSON gateway. */
async function etcd(path: string, body: object): Promise<Readonly<Record<string, string>>> {
  const answer = await fetch(`${url()}${path}`, { method: 'POST', body: JSON.stringify(body) });
  return (await answer.json()) as Readonly<Record<string, string>>;
}
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('a lock', () => {
  it('is held by one at a time, in the order of asking, with growing tokens', async () => {
    const order: number[] = [];
    const tokens: number[] = [];
    let inside = 0;
    const turns: Promise<void>[] = [];
    for (const n of [1, 2, 3]) {
      const turn = kv().withLock('queue', async (lock) => {
        inside += 1;
        expect(inside).toBe(1);
        order.push(n);
        tokens.push(lock.token);
        expect(await kv().get(lock.key)).toMatchObject({ createRevision: lock.token });
        inside -= 1;
      });
      turns.push(turn);
      // The next one asks when this one stands in the line, or has left it.
      await expect
        .poll(async () => order.length + (await waiters('queue')), WAIT)
        .toBeGreaterThanOrEqual(n);
    }
    await Promise.all(turns);
    expect(order).toEqual([1, 2, 3]);
    expect(tokens).toEqual([...tokens].sort((a, b) => a - b));
    expect(await waiters('queue')).toBe(0);
    expect(await kv().leases.list()).toEqual([]);
  });

  it('is not waited for by who does not want to, nor longer than it should', async () => {
    const lock = await kv().lock('busy');
    const other = await client();
    expect(await other.tryLock('busy')).toBeUndefined();
    await expect(other.lock('busy', { timeoutMs: 150 })).rejects.toMatchObject({
      code: 'KV_DEADLINE',
      outcome: 'not-applied',
      message: expect.stringContaining('"busy"') as unknown,
    });
    const giveUp = new AbortController();
    const waiting = expect(other.lock('busy', { signal: giveUp.signal })).rejects.toMatchObject({
      code: 'KV_CANCELLED',
      outcome: 'not-applied',
    });
    await expect.poll(() => waiters('busy'), WAIT).toBe(2);
    giveUp.abort();
    await waiting;
    expect(await waiters('busy')).toBe(1);
    expect(lock.isHeld).toBe(true);
    await lock.release();
    const next = await other.tryLock('busy');
    expect(next?.token).toBeGreaterThan(lock.token);
    await next?.release();
    await lock.release();
  });

  it('fences transactions of its shard', async () => {
    const lock = await kv().lock('{acct}/lock');
    const put = { compare: [lock.fence()], success: [op.put('{acct}/balance', '1')] };
    expect(await kv().txn(put)).toMatchObject({ succeeded: true });
    await lock.release();
    expect(await kv().txn(put)).toMatchObject({ succeeded: false });
    expect(() => lock.check()).toThrow(expect.objectContaining({ code: 'KV_CANCELLED' }));
  });

  it('is lost when its key is deleted, or its lease is revoked', async () => {
    const one = await kv().lock('deleted');
    await kv().delete(one.key);
    expect(await aborted(one.signal)).toMatchObject({ code: 'KV_NOT_HELD' });
    expect(one.isHeld).toBe(false);
    await one.release();

    const lease = await kv().leases.grant({ ttlSeconds: 60 });
    const two = await kv().lock('revoked', { lease });
    const work = kv().withLock(
      'also revoked',
      async (lock) => {
        await lease.revoke();
        await aborted(lock.signal);
      },
      { lease },
    );
    await expect(work).rejects.toMatchObject({ code: 'KV_CANCELLED' });
    expect(await aborted(two.signal)).toMatchObject({ code: 'KV_CANCELLED' });
    await expect(kv().lock('dead', { lease })).rejects.toMatchObject({ code: 'KV_CANCELLED' });
  });

  it('one lease holds several, and each of them once', async () => {
    const lease = await kv().leases.grant({ ttlSeconds: 60 });
    const one = await kv().lock('several-1', { lease });
    const two = await kv().lock('several-2', { lease });
    await expect(kv().lock('several-1', { lease })).rejects.toMatchObject({
      code: 'KV_INVALID_ARGUMENT',
      message: expect.stringContaining('holds "several-1" already') as unknown,
    });
    await one.release();
    expect([lease.isAlive, two.isHeld]).toEqual([true, true]);
    const again: Lock = await kv().lock('several-1', { lease });
    await again.release();
    await lease.revoke();
  });

  it('that is taken again before it is given up has a token of its own', async () => {
    const lease = await kv().leases.grant({ ttlSeconds: 60 });
    const one = await kv().lock('hasty', { lease });
    const released = one.release();
    const two = await kv().lock('hasty', { lease });
    expect(two.token).toBeGreaterThan(one.token);
    await released;
    expect(await kv().get(two.key)).toMatchObject({ createRevision: two.token });
    expect(two.isHeld).toBe(true);
    await two.release();
    await lease.revoke();
  });

  it('that nobody gave up has a token of its own when it is taken again', async () => {
    const cutter = await AnswerCutter.start(url());
    const unlucky = await client({ endpoints: [cutter.url], discover: false, session: false });
    const lease = await unlucky.leases.grant({ ttlSeconds: 60 });
    const one = await unlucky.lock('doubtful', { lease });
    cutter.cutNextResponse();
    await expect(one.release()).rejects.toMatchObject({ outcome: 'unknown' });
    const two = await unlucky.lock('doubtful', { lease });
    expect(two.token).toBeGreaterThan(one.token);
    await two.release();
    await unlucky.close();
    await kv().leases.revoke(lease);
    await cutter.stop();
  });

  it('is over with its client, or with that of its lease', async () => {
    const other = await client();
    const lease = await kv().leases.grant({ ttlSeconds: 60 });
    const one = await other.lock('of-two', { lease });
    const theirs = await other.leases.grant({ ttlSeconds: 60 });
    const two = await kv().lock('of-theirs', { lease: theirs });
    await other.close();
    for (const lock of [one, two]) {
      expect(await aborted(lock.signal)).toMatchObject({
        code: 'KV_CANCELLED',
        message: expect.stringContaining('the client was closed') as unknown,
      });
      expect(lock.isHeld).toBe(false);
    }
    const next = await kv().lock('of-two', { lease });
    expect(next.token).toBeGreaterThan(one.token);
    await lease.revoke();
    await kv().leases.revoke(theirs);
  });

  it('many of one lease, and their holders’ work, warn of nothing', async () => {
    const warnings: string[] = [];
    const note = (warning: Error): void => {
      warnings.push(warning.message);
    };
    process.on('warning', note);
    const lease = await kv().leases.grant({ ttlSeconds: 60 });
    const names = Array.from({ length: 12 }, (_, i) => `many-${i}`);
    const [lock] = await Promise.all(names.map((name) => kv().lock(name, { lease })));
    const options = lock === undefined ? {} : { signal: lock.signal };
    await Promise.all(names.map((name) => kv().get(name, options)));
    await new Promise(setImmediate);
    process.off('warning', note);
    expect(warnings).toEqual([]);
    await lease.revoke();
  });

  it('whoever waits hears that its own place is gone', async () => {
    const lock = await kv().lock('front');
    const other = await client();
    const lease = await other.leases.grant({ ttlSeconds: 60 });
    const waiting = expect(other.lock('front', { lease })).rejects.toMatchObject({
      code: 'KV_NOT_HELD',
    });
    await expect.poll(() => waiters('front'), WAIT).toBe(2);
    await kv().delete(`front/${lease.id.toString(16)}`);
    await lock.release();
    await waiting;
    await lease.revoke();
  });

  it('goes on when the watch of the one before it is compacted away', async () => {
    const lock = await kv().lock('history/held');
    const waiting = (await client()).lock('history/held');
    await expect.poll(() => waiters('history/held'), WAIT).toBe(2);
    const { revision, shard } = await kv().put('history/other', '1');
    await kv().compact(revision, { shard });
    await lock.release();
    const next = await waiting;
    expect(next.token).toBeGreaterThan(lock.token);
    await next.release();
  });

  it('is shared with the clients of etcd', async () => {
    const lock = await kv().lock('both');
    const asked = etcd('/v3/lock/lock', { name: base64('both') });
    await expect.poll(() => waiters('both'), WAIT).toBe(2);
    const third = kv().lock('both');
    await expect.poll(() => waiters('both'), WAIT).toBe(3);
    await lock.release();
    const { key = '' } = await asked;
    expect(await waiters('both')).toBe(2);
    await etcd('/v3/lock/unlock', { key });
    await (await third).release();
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['without a name', () => kv().lock(''), 'KV_EMPTY_KEY'],
    ['with the id of a lease', () => kv().lock('k', { lease: 5n as never }), 'KV_INVALID_ARGUMENT'],
    ['with an unknown option', () => kv().lock('k', { ttl: 5 } as never), 'KV_INVALID_ARGUMENT'],
  ])('%s is refused', async (_, call, code) => {
    await expect(call()).rejects.toMatchObject({ code });
  });
});

describe('an election', () => {
  it('has one leader, whom everybody sees', async () => {
    const election = kv().election('service');
    expect(await election.leader()).toBeUndefined();
    const stop = new AbortController();
    const observed = election.observe({ signal: stop.signal });
    const first = observed.next();
    const one = await election.campaign('one');
    expect((await first).value).toMatchObject({ createRevision: one.token });
    const rival = (await client()).election('service').campaign('two');
    await expect.poll(() => waiters('service'), WAIT).toBe(2);
    await one.proclaim('one, still');
    expect((await election.leader())?.text()).toBe('one, still');
    await one.resign();
    const two = await rival;
    expect(two.token).toBeGreaterThan(one.token);
    const seen = [await observed.next(), await observed.next()];
    expect(seen.map(({ value }) => value?.text())).toEqual(['one, still', 'two']);
    expect([one.isLeading, two.isLeading]).toEqual([false, true]);
    const late = { code: 'KV_CANCELLED', outcome: 'not-applied' };
    await expect(one.proclaim('late')).rejects.toMatchObject(late);
    const fenced = { compare: [two.fence(), compare('service/x', 'version', '=', 0)] };
    expect(await kv().txn(fenced)).toMatchObject({ succeeded: true });
    const next = observed.next();
    stop.abort();
    await expect(next).rejects.toMatchObject({ code: 'KV_CANCELLED' });
    await kv().delete(two.key);
    await expect(two.proclaim('gone')).rejects.toMatchObject({ code: 'KV_NOT_HELD' });
    await two[Symbol.asyncDispose]();
  });

  it('is shared with the clients of etcd', async () => {
    const election = kv().election('shared');
    const one = await election.campaign('sdk');
    const rival = etcd('/v3/election/campaign', { name: base64('shared'), value: base64('etcd') });
    await expect.poll(() => waiters('shared'), WAIT).toBe(2);
    await one.resign();
    await rival;
    expect((await election.leader())?.text()).toBe('etcd');
    await kv()
      .delete({ prefix: 'shared/' })
      .catch(() => kv().deleteEachShard({ prefix: 'shared/' }));
  });

  it('who campaigns again with the lease of an earlier life goes on with its key', async () => {
    const lease = await kv().leases.grant({ ttlSeconds: 60 });
    const key = `again/${lease.id.toString(16)}`;
    const { revision } = await kv().put(key, 'before', { lease });
    const leadership = await kv().election('again').campaign('after', { lease });
    expect(leadership.token).toBe(revision);
    expect((await kv().get(key))?.text()).toBe('after');
    await lease.revoke();
  });
});

describe('without a session, when an answer is lost', () => {
  it('a lock is found by its key, and a software transaction is in doubt, and not done twice', async () => {
    const cutter = await AnswerCutter.start(url());
    const unlucky = await client({ endpoints: [cutter.url], discover: false, session: false });
    const lease = await unlucky.leases.grant({ ttlSeconds: 60 });
    cutter.cutNextResponse();
    const lock = await unlucky.lock('found', { lease });
    expect(cutter.cuts).toBe(1);
    expect(await kv().get(lock.key)).toMatchObject({ createRevision: lock.token, version: 1 });
    await lock.release();
    let runs = 0;
    cutter.cutNextResponse();
    const work = unlucky.stm((tx) => {
      runs += 1;
      tx.put('doubtful', '1');
    });
    await expect(work).rejects.toMatchObject({ code: 'KV_TIMEOUT', outcome: 'unknown' });
    expect([cutter.cuts, runs]).toEqual([2, 1]);
    expect(await kv().get('doubtful')).toMatchObject({ version: 1 });
    await unlucky.close();
    await kv().leases.revoke(lease);
    await cutter.stop();
  });
});

it('locks and waiters move with their slots, and tokens go on growing', async () => {
  const names = Array.from({ length: 8 }, (_, i) => `moving-${i}`);
  const before = await Promise.all(names.map((name) => kv().shardOf(`${name}/`)));
  const held = await Promise.all(names.map((name) => kv().lock(name)));
  const other = await client();
  const waiting = names.map((name) => other.lock(name));
  await expect.poll(async () => (await kv().getAll({ prefix: 'moving-' })).count, WAIT).toBe(16);
  await kv().reshard({ action: 'scale', shards: 4 });
  const areOver = async (): Promise<boolean> => (await kv().moves()).length === 0;
  await expect.poll(areOver, WAIT).toBe(true);
  const after = await Promise.all(names.map((name) => kv().shardOf(`${name}/`)));
  expect(after).not.toEqual(before);
  expect(held.map((lock) => lock.isHeld)).toEqual(names.map(() => true));
  await Promise.all(held.map((lock) => lock.release()));
  const next = await Promise.all(waiting);
  for (const [at, lock] of next.entries()) {
    expect(lock.token).toBeGreaterThan(held[at]?.token ?? Number.POSITIVE_INFINITY);
  }
  await Promise.all(next.map((lock) => lock.release()));
}, 90_000);
