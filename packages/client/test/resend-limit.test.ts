import { KvError, SESSION_EVICTABLE_IDLE_MS, SESSION_RETRY_MS_MAX } from '@kvorum/base';
import { plainError } from '@kvorum/wire';
import { afterEach, expect, it, vi } from 'vitest';
import { useClusters } from './support/clusters.ts';

const { cluster, client } = useClusters();
const LONG_MS = 10 * SESSION_RETRY_MS_MAX;
const realNow = performance.now.bind(performance);
let aheadMs = 0;

afterEach(() => {
  aheadMs = 0;
  vi.restoreAllMocks();
});

/** What the client takes for the time; a test moves it on through `aheadMs`. */
function ownClock(): void {
  vi.spyOn(performance, 'now').mockImplementation(() => realNow() + aheadMs);
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

it('leaves room up to the time at which a session may be forgotten', () => {
  expect(SESSION_RETRY_MS_MAX * 2).toBeLessThanOrEqual(SESSION_EVICTABLE_IDLE_MS);
});

it('a write of unknown fate is not sent again once the servers may have forgotten its session', async () => {
  ownClock();
  const fake = await cluster(1, 1);
  const kv = await client(fake);
  const member = fake.member(0);
  member.reply = (session, frame, item) => {
    member.execute(session, frame, item);
    return undefined; // applied, and the answer is lost
  };
  const put = failure(kv.put('a', '1', { timeoutMs: LONG_MS }));
  await expect.poll(() => fake.store.puts).toBe(1);
  aheadMs = SESSION_RETRY_MS_MAX + 1;
  expect(await put).toMatchObject({ code: 'KV_TIMEOUT', outcome: 'unknown' });
  const frames = member.sessions.flatMap((session) => session.frames);
  for (const frame of frames) expect(frame.timeoutMs).toBeLessThanOrEqual(SESSION_RETRY_MS_MAX);
});

it('not even a rounding error more than that, whatever the clock says', async () => {
  const nowMs = 50_000.1;
  expect(nowMs + SESSION_RETRY_MS_MAX - nowMs).toBeGreaterThan(SESSION_RETRY_MS_MAX);
  vi.spyOn(performance, 'now').mockReturnValue(nowMs);
  const fake = await cluster(1, 1);
  const kv = await client(fake);
  await kv.put('a', '1', { timeoutMs: LONG_MS });
  const frames = fake.member(0).sessions.flatMap((session) => session.frames);
  expect(frames.map((frame) => frame.timeoutMs)).toEqual([SESSION_RETRY_MS_MAX]);
});

it('neither is one whose connection broke', async () => {
  ownClock();
  const fake = await cluster(2, 1);
  const first = fake.member(0);
  first.reply = (session, frame, item) => {
    first.execute(session, frame, item);
    return undefined;
  };
  const kv = await client(fake);
  const put = failure(kv.put('a', '1', { timeoutMs: LONG_MS }));
  await expect.poll(() => fake.store.puts).toBe(1);
  fake.leaders.delete('0');
  await first.stop();
  fake.store.applied.clear(); // as a full table of sessions does after a minute
  aheadMs = SESSION_RETRY_MS_MAX + 1;
  expect(await put).toMatchObject({ code: 'KV_TIMEOUT', outcome: 'unknown' });
  fake.lead('0', fake.member(1), true);
  expect(await kv.put('b', '1')).toMatchObject({ revision: 3 });
  expect(fake.store.puts).toBe(2);
});

it('what certainly was not applied is repeated until its own deadline', async () => {
  ownClock();
  const fake = await cluster(1, 1);
  const member = fake.member(0);
  let refusals = 0;
  member.reply = (_session, _frame, item) => {
    refusals += 1;
    return [item[0], 2, plainError(new KvError('KV_NO_LEADER'))];
  };
  const kv = await client(fake);
  const put = kv.put('a', '1', { timeoutMs: LONG_MS });
  for (let i = 0; i < 3; i += 1) {
    const before = refusals;
    await expect.poll(() => refusals).toBeGreaterThan(before);
    aheadMs += SESSION_RETRY_MS_MAX;
  }
  member.reply = (session, frame, item) => member.execute(session, frame, item);
  expect(await put).toMatchObject({ revision: 2 });
});

it('a read keeps its own deadline, and shares no frame with a write that has less time', async () => {
  const fake = await cluster(1, 1);
  const kv = await client(fake);
  await kv.put('a', '1');
  const late = { timeoutMs: LONG_MS };
  await Promise.all([kv.put('a', '2', late), kv.get('a', late), kv.put('a', '3', late)]);
  const frames = fake
    .member(0)
    .sessions.flatMap((session) => session.frames)
    .slice(1);
  expect(frames.map((frame) => frame.timeoutMs > SESSION_RETRY_MS_MAX)).toEqual([
    false,
    true,
    false,
  ]);
});
