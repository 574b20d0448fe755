import { setTimeout as sleep } from 'node:timers/promises';
import { KvError } from '@kvorum/base';
import { FRAME, plainError } from '@kvorum/wire';
import { describe, expect, it } from 'vitest';
import { useClusters } from './support/clusters.ts';

const { cluster, client } = useClusters();

const failure = async (promise: Promise<unknown>): Promise<KvError> => {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  );
  if (outcome instanceof KvError) return outcome;
  throw new TypeError(`expected a KvError, got ${JSON.stringify(outcome)}`);
};

describe('failover', () => {
  it('re-sends what a killed leader did not answer, in order, marked as retries, exactly once', async () => {
    const fake = await cluster(3, 1);
    const [first, second] = [fake.member(0), fake.member(1)];
    // Applies everything, answers nothing: the worst a dying leader can do.
    first.onRequests = (session, frame) => {
      for (const item of frame.items) first.execute(session, frame, item);
    };
    const kv = await client(fake);
    const puts = Promise.all([1, 2, 3].map((n) => kv.put(`k${n}`, 'v')));
    await expect.poll(() => fake.store.puts).toBe(3);
    await first.stop();
    fake.lead('0', second, true);
    expect((await puts).map((put) => put.revision)).toEqual([2, 3, 4]);
    expect(fake.store.puts).toBe(3);
    const again = second.sessions.flatMap((session) => session.frames).at(-1);
    expect(again?.items.map((item) => [item[2], item[3]])).toEqual([
      [1, true],
      [2, true],
      [3, true],
    ]);
  });

  it('goes where a follower says the leader is', async () => {
    const fake = await cluster(3, 1);
    const kv = await client(fake);
    await kv.put('a', '1');
    fake.lead('0', fake.member(2), false);
    expect(await kv.put('a', '2')).toMatchObject({ revision: 3 });
    expect(fake.member(2).sessions.flatMap((session) => session.frames)).toHaveLength(1);
    const refused = fake
      .member(0)
      .sessions.flatMap((session) => session.frames)
      .at(-1);
    const retried = fake.member(2).sessions[0]?.frames[0];
    // It certainly was not applied: the same sequence number, but no doubt about it.
    expect(refused?.items[0]?.slice(2, 4)).toEqual([2, false]);
    expect(retried?.items[0]?.slice(2, 4)).toEqual([2, false]);
  });

  it('reaches a member at its new address, and does not stay with the old one', async () => {
    const fake = await cluster(2, 1);
    const moving = fake.member(1);
    fake.lead('0', moving, true);
    const kv = await client(fake, { endpoints: [fake.member(0).url] });
    await kv.put('a', '1');
    fake.lead('0', fake.member(0), true);
    await fake.move(moving);
    fake.lead('0', moving, true);
    expect(await kv.put('a', '2', { timeoutMs: 5000 })).toMatchObject({ revision: 3 });
  });

  it('notices a stopped leader by its silence', async () => {
    const fake = await cluster(3, 1);
    const kv = await client(fake, { pingIntervalMs: 100, pingTimeoutMs: 200 });
    await kv.put('a', '1');
    fake.member(0).frozen = true;
    fake.lead('0', fake.member(1), true);
    expect(await kv.put('a', '2')).toMatchObject({ revision: 3 });
    expect((await kv.get('a'))?.text()).toBe('2');
  });

  it('asks the new leader when the old one, still connected, does not answer', async () => {
    const fake = await cluster(2, 2);
    const kv = await client(fake);
    const keys = Array.from({ length: 50 }, (_, i) => `spread/${i}/k`);
    await Promise.all(keys.map((key) => kv.put(key, '1'))); // both members connected
    fake.member(0).reply = () => undefined;
    const puts = Promise.all(keys.map((key) => kv.put(key, '2')));
    await expect.poll(() => fake.member(0).sessions[0]?.frames.length).toBeGreaterThan(1);
    fake.lead('0', fake.member(1), true);
    await puts;
    expect(fake.store.puts).toBe(100);
  });

  it('without a session reports a lost write as unknown and does not repeat it', async () => {
    const fake = await cluster(2, 1);
    fake.member(0).reply = () => undefined;
    const kv = await client(fake, { session: false });
    const put = failure(kv.put('a', '1'));
    const get = kv.get('a');
    await expect.poll(() => fake.member(0).sessions[0]?.frames.length).toBeGreaterThan(0);
    await fake.member(0).stop();
    fake.lead('0', fake.member(1), true);
    expect(await put).toMatchObject({ code: 'KV_TIMEOUT', outcome: 'unknown', retry: 'read-back' });
    expect(await get).toBeUndefined();
    expect(fake.store.puts).toBe(0);
  });

  it('waits out an election, and names it when the deadline comes first', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    fake.leaders.delete('0');
    const put = kv.put('a', '1');
    const late = failure(kv.put('b', '1', { timeoutMs: 100 }));
    expect(await late).toMatchObject({ code: 'KV_DEADLINE', outcome: 'not-applied' });
    expect((await late).message).toContain('no leader');
    fake.lead('0', fake.member(0), true);
    expect(await put).toMatchObject({ revision: 2 });
  });

  it('says unavailable, naming each endpoint, when nobody listens', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    await fake.member(0).stop();
    await failure(kv.get('a', { timeoutMs: 60 })); // by then the closed connection was noticed
    const error = await failure(kv.put('a', '1', { timeoutMs: 200 }));
    expect(error).toMatchObject({ code: 'KV_UNAVAILABLE', outcome: 'not-applied' });
    expect(error.message).toContain(fake.member(0).url);
    await fake.member(0).start();
    expect(await kv.put('a', '1')).toMatchObject({ revision: 2 });
  });
});

describe('session window', () => {
  it('does not let a timed-out command hold back the acknowledged mark', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    await kv.put('a', '1');
    const member = fake.member(0);
    let late: (() => void) | undefined;
    member.reply = (session, frame, item) => {
      late = () =>
        session.send([FRAME.responses, frame.shard, [member.execute(session, frame, item)]]);
      return undefined;
    };
    const error = await failure(kv.put('slow', '1', { timeoutMs: 60 }));
    expect(error).toMatchObject({ code: 'KV_TIMEOUT', outcome: 'unknown' });
    member.reply = (session, frame, item) => member.execute(session, frame, item);
    late?.(); // ignored: nobody waits for it
    await kv.put('b', '1');
    await kv.put('c', '1');
    const last = member.sessions[0]?.frames.at(-1);
    expect(last).toMatchObject({ ackedThrough: 3 });
    expect(last?.items[0]?.[2]).toBe(4);
  });
});

describe('back-pressure', () => {
  it('refuses what exceeds its bounds at once', async () => {
    const fake = await cluster(1, 1);
    fake.member(0).reply = () => undefined;
    const kv = await client(fake, { inflightMax: 2 });
    const under = [kv.put('a', '1'), kv.put('b', '1')].map(failure);
    expect(await failure(kv.put('c', '1'))).toMatchObject({
      code: 'KV_TOO_MANY_REQUESTS',
      outcome: 'not-applied',
      details: { limit: 2, actual: 2 },
    });
    await kv.close();
    expect((await Promise.all(under)).map((error) => error.code)).toEqual([
      'KV_CANCELLED',
      'KV_CANCELLED',
    ]);
  });

  it('retries when a member is full', async () => {
    const fake = await cluster(1, 1);
    const member = fake.member(0);
    let refusals = 3;
    member.reply = (session, frame, item) => {
      if (refusals === 0) return member.execute(session, frame, item);
      refusals -= 1;
      return [item[0], 2, plainError(new KvError('KV_TOO_MANY_REQUESTS'))];
    };
    const kv = await client(fake);
    expect(await kv.put('a', '1')).toMatchObject({ revision: 2 });
    expect(fake.store.puts).toBe(1);
  });

  it('refuses an empty key and a value over the limit without asking anybody', async () => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    expect(await failure(kv.put('', 'v'))).toMatchObject({ code: 'KV_EMPTY_KEY' });
    const big = new Uint8Array(2 * 1024 * 1024);
    expect(await failure(kv.put('a', big))).toMatchObject({ code: 'KV_REQUEST_TOO_LARGE' });
    const nothing = undefined as never;
    expect(await failure(kv.put('a', nothing))).toMatchObject({ code: 'KV_INVALID_ARGUMENT' });
    expect(fake.member(0).sessions.flatMap((session) => session.frames)).toEqual([]);
  });
});

describe('abort', () => {
  it('tells what is known of the outcome', async () => {
    const fake = await cluster(1, 1);
    fake.member(0).reply = () => undefined;
    const kv = await client(fake);
    const before = failure(kv.put('a', '1', { signal: AbortSignal.abort() }));
    expect(await before).toMatchObject({ code: 'KV_CANCELLED', outcome: 'not-applied' });
    const controller = new AbortController();
    const sent = failure(kv.put('a', '1', { signal: controller.signal }));
    await expect.poll(() => fake.member(0).sessions[0]?.frames.length).toBe(1);
    controller.abort();
    expect(await sent).toMatchObject({ code: 'KV_CANCELLED', outcome: 'unknown' });
  });
});

describe('bad answers', () => {
  it.each([
    ['no frame at all', Buffer.from([0xc1, 0xff])],
    ['an unknown frame', undefined],
  ])('survives %s', async (_name, bytes) => {
    const fake = await cluster(1, 1);
    const kv = await client(fake);
    await kv.put('a', '1');
    const session = fake.member(0).sessions[0];
    if (bytes === undefined) session?.send([250, 'from the future']);
    else session?.ws.send(bytes);
    expect((await kv.get('a'))?.text()).toBe('1');
  });

  it('gives up a member that answers nonsense, and asks again', async () => {
    const fake = await cluster(1, 1);
    const member = fake.member(0);
    const nonsense: unknown[] = ['x', [], { op: 'put' }];
    member.reply = (session, frame, item) => {
      const answer = nonsense.pop();
      return answer === undefined ? member.execute(session, frame, item) : [item[0], 0, answer];
    };
    const kv = await client(fake);
    expect(await kv.put('a', '1')).toMatchObject({ revision: 2 });
    expect(member.sessions.length).toBe(4);
  });

  it('reports an error of a newer member as unknown', async () => {
    const fake = await cluster(1, 1);
    fake.member(0).reply = (_session, _frame, item) => [
      item[0],
      2,
      ['KV_FROM_THE_FUTURE', 'x', {}, '?'],
    ];
    const kv = await client(fake);
    expect(await failure(kv.put('a', '1'))).toMatchObject({
      code: 'KV_MALFORMED',
      outcome: 'unknown',
    });
  });

  it('knows that a read changed nothing, and that an unanswered attempt may have', async () => {
    const fake = await cluster(2, 1);
    const refusal = plainError(new KvError('KV_CORRUPT', 'disk', { outcome: 'unknown' }));
    fake.member(0).reply = (_session, _frame, item) => [item[0], 2, refusal];
    const kv = await client(fake);
    expect(await failure(kv.get('a'))).toMatchObject({
      code: 'KV_CORRUPT',
      outcome: 'not-applied',
    });
    fake.member(0).reply = () => undefined;
    const full = plainError(new KvError('KV_NO_SPACE'));
    fake.member(1).reply = (_session, _frame, item) => [item[0], 2, full];
    const put = failure(kv.put('a', '1'));
    await expect.poll(() => fake.member(0).sessions[0]?.frames.length).toBe(2);
    await fake.member(0).stop();
    fake.lead('0', fake.member(1), true);
    expect(await put).toMatchObject({ code: 'KV_NO_SPACE', outcome: 'unknown' });
  });

  it('refuses a member of another cluster', async () => {
    const [one, other] = [await cluster(1, 1), await cluster(1, 1)];
    const stranger = other.member(0);
    const welcome = stranger.welcome();
    stranger.welcome = () => ({
      ...welcome,
      clusterId: '00000000000000c2',
      memberId: 'f'.repeat(16),
    });
    const kv = await client(one, { endpoints: [one.member(0).url, stranger.url] });
    await expect(kv.health(stranger.url)).rejects.toThrow('another cluster');
    await sleep(0);
    expect(await kv.put('a', '1')).toMatchObject({ revision: 2 });
  });
});
