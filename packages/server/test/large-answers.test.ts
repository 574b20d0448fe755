import { utf8 } from '@kvorum/base';
import { FRAME, OP } from '@kvorum/wire';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';
import { RawSession } from './support/raw-session.ts';

const KEY = Buffer.from('large');
const VALUE_BYTES = 65_536;
/** 37 MiB of answers, 8 or 16 of them in one turn; three times as many are above what is queued even for a moment. */
const GETS = 600;
const FRAMES_MIN = 30;
const UNREAD_MS = 12_345;

const directory = temporaryDirectory();
let member: OneMember;
let sessions: RawSession[] = [];
beforeAll(async () => {
  member = await startOneMember(directory.path, {
    'limits.connectionSendBufferBytesMax': 262_144,
    'limits.connectionUnreadBytesMax': 67_108_864,
    'limits.connectionUnreadMsMax': UNREAD_MS,
  });
  const writer = await open();
  writer.requests(shard(), [[1, OP.put, 0, false, KEY, Buffer.alloc(VALUE_BYTES, 'x')]]);
  const { items } = await writer.answers(1);
  expect(items[0]?.[1]).toBe(0);
});
afterEach(() => {
  vi.restoreAllMocks();
  for (const session of sessions) session.close();
  sessions = [];
});
afterAll(async () => {
  await member.stop();
  directory.remove();
});

const shard = (): string => member.member.host.router.shardOf(utf8('large'));
const gets = (first: number, count: number): (readonly unknown[])[] =>
  Array.from({ length: count }, (_, i) => [first + i, OP.get, KEY]);

async function open(): Promise<RawSession> {
  const session = await RawSession.open(member.url);
  sessions.push(session);
  return session;
}

/** Resolves with the timer that a connection sets when more than the limit is unread; it still runs at its time, too. */
function unreadTimer(): Promise<() => void> {
  const { clock } = member.member.host;
  const setTimer = clock.setTimer.bind(clock);
  return new Promise((resolve) => {
    vi.spyOn(clock, 'setTimer').mockImplementation((delayMs, callback) => {
      if (delayMs === UNREAD_MS) resolve(callback);
      return setTimer(delayMs, callback);
    });
  });
}

/** Lets the next control call for a hash wait for what this resolves with. */
async function holdHash(): Promise<() => void> {
  const replica = member.member.host.replica(shard());
  if (replica === undefined) throw new TypeError('the shard is not here');
  const hash = await replica.stateHash();
  let answer: () => void = () => undefined;
  const hashed = new Promise<typeof hash>((resolve) => {
    answer = () => resolve(hash);
  });
  vi.spyOn(replica, 'stateHash').mockReturnValueOnce(hashed);
  return answer;
}

it('a reading client gets far more than the limit in one turn', async () => {
  const session = await open();
  session.requests(shard(), gets(0, GETS));
  const { items, frames } = await session.answers(GETS);
  expect(items.every((item) => item[1] === 0)).toBe(true);
  expect(new Set(items.map((item) => item[0])).size).toBe(GETS);
  expect(items.every((item) => (item[3] as Uint8Array).length === VALUE_BYTES)).toBe(true);
  expect(frames).toBeGreaterThan(FRAMES_MIN);
  session.requests(shard(), gets(GETS, 1));
  expect((await session.answers(1)).items[0]?.[0]).toBe(GETS);
});

it('also when more is due before it can have read any of it', async () => {
  const session = await open();
  const timer = unreadTimer();
  const answerHash = await holdHash();
  session.send([FRAME.control, 1, 'hash', { shard: shard() }]);
  session.requests(shard(), gets(0, GETS));
  // Goes on in the microtasks of the very turn that has sent the answers.
  await timer;
  answerHash();
  expect((await session.answers(GETS)).items.length).toBe(GETS);
  expect((await session.next(FRAME.controlResponse))[2]).toBeNull();
});

const cuts = (): number =>
  member.log.filter((line) => line.includes('client does not read its answers; disconnected'))
    .length;

async function expectCut(session: RawSession, asked: number): Promise<void> {
  session.ws.resume();
  expect((await session.closed).code).not.toBe(1000);
  const received = session.frames.filter((frame) => frame[0] === FRAME.responses);
  const items = received.reduce((sum, frame) => sum + (frame[2] as unknown[]).length, 0);
  expect(items).toBeLessThan(asked);
}

it('a client that never reads its answers is disconnected when its time has passed', async () => {
  const session = await open();
  const timer = unreadTimer();
  const before = cuts();
  session.ws.pause();
  session.requests(shard(), gets(0, GETS));
  const letTimePass = await timer;
  expect(cuts()).toBe(before);
  letTimePass();
  expect(cuts()).toBe(before + 1);
  await expectCut(session, GETS);
});

it('and at once by the next turn, when far more than the limit is unread', async () => {
  const session = await open();
  const timer = unreadTimer();
  const before = cuts();
  const answerHash = await holdHash();
  session.ws.pause();
  session.send([FRAME.control, 1, 'hash', { shard: shard() }]);
  session.requests(shard(), gets(0, GETS * 3));
  await timer;
  expect(cuts()).toBe(before);
  answerHash();
  await expect.poll(cuts, { timeout: 15_000 }).toBe(before + 1);
  await expectCut(session, GETS * 3);
});
