import { utf8 } from '@kvorum/base';
import { FRAME, OP } from '@kvorum/wire';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';
import { RawSession } from './support/raw-session.ts';

const directory = temporaryDirectory();
let member: OneMember;
let sessions: RawSession[] = [];
beforeAll(async () => {
  member = await startOneMember(directory.path, {
    'limits.requestBytesMax': 10_000,
    'limits.connectionInflightMax': 5000,
    'limits.watchersPerStreamMax': 3,
  });
});
afterEach(() => {
  for (const session of sessions) session.close();
  sessions = [];
});
afterAll(async () => {
  await member.stop();
  directory.remove();
});

async function open(): Promise<RawSession> {
  const session = await RawSession.open(member.url);
  sessions.push(session);
  return session;
}

const shardOf = (key: string): string => member.member.host.router.shardOf(utf8(key));
const otherShard = (key: string): string => (shardOf(key) === '0' ? '1' : '0');
const codeOf = (plain: unknown): unknown => (plain as unknown[])[0];
const codes = (items: unknown[][]): unknown[] => items.map((item) => codeOf(item[2]));

describe('requests', () => {
  it('answers puts and gets in the flat form', async () => {
    const session = await open();
    const shard = shardOf('k');
    session.requests(shard, [session.put(1, 'k', 'v'), session.put(2, 'k', 'w')]);
    const { items } = await session.answers(2);
    const revisions = items.map((item) => item[2] as number);
    expect(items.map((item) => item.slice(0, 2))).toEqual([
      [1, 0],
      [2, 0],
    ]);
    expect(revisions[1]).toBe((revisions[0] ?? 0) + 1);
    session.requests(shard, [session.get(3, 'k')]);
    const [, , , value, create, mod, version, lease] = (await session.answers(1)).items[0] ?? [];
    expect([value, create, mod, version, lease]).toEqual([Buffer.from('w'), ...revisions, 2, 0]);
  });

  it('says null for a key that is not there', async () => {
    const session = await open();
    session.requests(shardOf('absent'), [session.get(9, 'absent')]);
    expect((await session.answers(1)).items).toEqual([[9, 0, null]]);
  });

  it('packs the answers of a batch into few frames', async () => {
    const session = await open();
    const items = Array.from({ length: 2000 }, (_, i) => session.put(i, `dir/${i}`, 'value'));
    session.requests(shardOf('dir/0'), items);
    const { items: answers, frames } = await session.answers(2000);
    expect(new Set(answers.map((item) => item[0])).size).toBe(2000);
    expect(answers.every((item) => item[1] === 0)).toBe(true);
    expect(frames).toBeLessThan(20);
  });

  it('runs any request in object form', async () => {
    const session = await open();
    const key = Buffer.from('t/x');
    const txn = {
      op: 'txn',
      compare: [{ key, target: 'create', result: 'equal', value: 0 }],
      success: [{ op: 'put', key, value: Buffer.from('1') }],
      failure: [],
    };
    session.requests(shardOf('t/x'), [[1, OP.request, 0, false, txn]]);
    expect((await session.answers(1)).items[0]).toMatchObject([
      1,
      1,
      { op: 'txn', succeeded: true },
    ]);
  });

  it('repeats a session’s write only once', async () => {
    const session = await open();
    const shard = shardOf('s');
    const key = Buffer.from('s');
    session.requests(shard, [[1, OP.put, 1, false, key, key]]);
    const first = (await session.answers(1)).items[0]?.[2];
    session.requests(shard, [[2, OP.put, 1, true, key, key]]);
    expect((await session.answers(1)).items[0]).toEqual([2, 0, first]);
    session.requests(shard, [session.get(3, 's')]);
    expect((await session.answers(1)).items[0]?.[6]).toBe(1);
  });
});

describe('refusals: each request has its error, the connection goes on', () => {
  it('wrong shard, unknown shard, the meta shard', async () => {
    const session = await open();
    for (const shard of [otherShard('k'), '77', 'meta']) {
      const range = { op: 'delete-range', key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
      const items = [session.put(1, 'k', 'v'), session.get(2, 'k')];
      session.requests(
        shard,
        shard === 'meta' ? [...items, [3, OP.request, 0, false, range]] : items,
      );
      const { items: answers } = await session.answers(items.length);
      expect(codes(answers)).toEqual(answers.map(() => 'KV_WRONG_SHARD'));
      expect((answers[0]?.[2] as unknown[] | undefined)?.[2]).toMatchObject({
        mapVersion: expect.any(Number) as unknown,
      });
    }
  });

  it('empty key, too large', async () => {
    const session = await open();
    const shard = shardOf('k');
    session.requests(shard, [
      session.put(1, '', 'v'),
      session.get(2, ''),
      session.put(3, 'k', 'v'.repeat(10_000)),
      session.put(4, 'k', 'fits'),
    ]);
    const { items } = await session.answers(4);
    const byId = new Map(items.map((item) => [item[0], item]));
    expect([1, 2, 3].map((id) => codeOf(byId.get(id)?.[2]))).toEqual([
      'KV_EMPTY_KEY',
      'KV_EMPTY_KEY',
      'KV_REQUEST_TOO_LARGE',
    ]);
    expect(byId.get(4)?.[1]).toBe(0);
  });

  it('more unanswered requests than a connection may have', async () => {
    const session = await open();
    const items = Array.from({ length: 6000 }, (_, i) => session.put(i, `dir/${i}`, 'v'));
    session.requests(shardOf('dir/0'), items);
    const { items: answers } = await session.answers(6000);
    const refused = answers.filter((item) => item[1] === 2);
    expect(refused.length).toBe(1000);
    expect(new Set(codes(refused))).toEqual(new Set(['KV_TOO_MANY_REQUESTS']));
  });
});

describe('a client that breaks the protocol is disconnected with the reason', () => {
  it.each<[string, (session: RawSession) => void, RegExp]>([
    ['garbage', (s) => s.sendBytes(Buffer.from([0xc1, 0xff, 0x00])), /KV_MALFORMED/],
    ['text', (s) => s.sendBytes('hello'), /frames are binary/],
    ['an unknown frame', (s) => s.send([99]), /unknown frame type 99/],
    ['a second hello', (s) => s.send([FRAME.hello, 1, '0'.repeat(32), 'x']), /hello came twice/],
    [
      'items that are none',
      (s) => s.send([FRAME.requests, '0', 1, 1, 0, [[1, 1, 'x']]]),
      /items\[0\]/,
    ],
    [
      'an unknown option',
      (s) =>
        s.send([
          FRAME.requests,
          '0',
          1,
          1,
          0,
          [[1, OP.request, 0, false, { op: 'put', key: Buffer.from('k'), valeu: 1 }]],
        ]),
      /valeu/,
    ],
    [
      'a watch of a wrong type',
      (s) => s.send([FRAME.watchCreate, 1, '0', { key: 'text' }]),
      /key must be bytes/,
    ],
    [
      'a watch option',
      (s) => s.send([FRAME.watchCreate, 1, '0', { kye: 1 }]),
      /kye is not a known/,
    ],
  ])('%s', async (_name, act, reason) => {
    const session = await open();
    act(session);
    const { code, reason: text } = await session.closed;
    expect([code, text]).toEqual([1008, expect.stringMatching(reason)]);
    (await open()).close();
  });

  it('no hello first', async () => {
    const session = new RawSession(member.url);
    sessions.push(session);
    session.ws.on('open', () => session.send([FRAME.watchCancel, 1]));
    expect(await session.closed).toMatchObject({
      code: 1008,
      reason: expect.stringContaining('hello') as unknown,
    });
  });

  it('a message above the limit', async () => {
    const session = await open();
    session.sendBytes(Buffer.alloc(8 * 1024 * 1024));
    expect((await session.closed).code).toBe(1009);
  });

  it('a page of another site', async () => {
    const response = await fetch(`${member.url}/livez`);
    expect(response.status).toBe(200);
    const { WebSocket } = await import('ws');
    const ws = new WebSocket(`${member.url.replace('http', 'ws')}/v1/session`, {
      headers: { origin: 'https://evil.example' },
    });
    const status = await new Promise((resolve) => {
      ws.on('unexpected-response', (_request, answer) => resolve(answer.statusCode));
    });
    expect(status).toBe(403);
  });
});

describe('watches', () => {
  it('sends events with the previous value, and stops after a cancel', async () => {
    const session = await open();
    const shard = shardOf('w/1');
    const key = Buffer.from('w/');
    const request = { key, rangeEnd: Buffer.from('w0'), prevKv: true };
    session.send([FRAME.watchCreate, 7, shard, request]);
    const [, id] = await session.next(FRAME.watchCreated);
    expect(id).toBe(7);
    session.requests(shard, [session.put(1, 'w/1', 'a'), session.put(2, 'w/1', 'b')]);
    const events: unknown[][] = [];
    while (events.length < 2) {
      const [, , , list] = await session.next(FRAME.watchEvents);
      events.push(...(list as unknown[][]));
    }
    expect(events.map((event) => [event[0], String(event[1]), String(event[2])])).toEqual([
      [false, 'w/1', 'a'],
      [false, 'w/1', 'b'],
    ]);
    expect((events[1]?.[7] as unknown[] | undefined)?.slice(0, 2)).toEqual([
      Buffer.from('w/1'),
      Buffer.from('a'),
    ]);
    session.send([FRAME.watchCancel, 7]);
    session.requests(shard, [session.put(3, 'w/1', 'c')]);
    await session.answers(3);
    expect(session.frames.some((frame) => frame[0] === FRAME.watchEvents)).toBe(false);
  });

  it('refuses more than a connection may have, and a key of another shard', async () => {
    const session = await open();
    const shard = shardOf('k');
    const request = { key: Buffer.from('k') };
    session.send([FRAME.watchCreate, 1, otherShard('k'), request]);
    expect(codeOf((await session.next(FRAME.watchCancelled))[2])).toBe('KV_WRONG_SHARD');
    for (const id of [2, 3, 4, 5]) session.send([FRAME.watchCreate, id, shard, request]);
    const cancelled = await session.next(FRAME.watchCancelled);
    expect([cancelled[1], codeOf(cancelled[2])]).toEqual([5, 'KV_TOO_MANY_REQUESTS']);
  });
});

describe('control', () => {
  const call = async (method: string, params: unknown = null): Promise<readonly unknown[]> => {
    const session = await open();
    session.send([FRAME.control, 1, method, params]);
    return session.next(FRAME.controlResponse);
  };

  it('answers every method', async () => {
    expect((await call('status'))[3]).toMatchObject({
      member: { name: 'm1' },
      mapVersion: expect.any(Number) as unknown,
    });
    expect((await call('members'))[3]).toMatchObject([{ name: 'm1' }]);
    expect((await call('shards'))[3]).toMatchObject([
      { shard: '0' },
      { shard: '1' },
      { shard: 'meta' },
    ]);
    expect((await call('health'))[3]).toEqual({ healthy: true, reasons: [] });
    expect((await call('hash', { shard: '0' }))[3]).toMatchObject({
      shard: '0',
      hash: expect.any(String) as unknown,
    });
    expect((await call('transfer', { shard: '0', member: 'm1' }))[2]).toBeNull();
  });

  it('refuses unknown methods, wrong parameters and unknown places', async () => {
    expect(codeOf((await call('stauts'))[2])).toBe('KV_INVALID_ARGUMENT');
    expect(codeOf((await call('hash', { shard: 1 }))[2])).toBe('KV_MALFORMED');
    expect(codeOf((await call('hash', { shard: '77' }))[2])).toBe('KV_NOT_FOUND');
    expect(codeOf((await call('transfer', { shard: '0', member: 'm9' }))[2])).toBe(
      'KV_BAD_TRANSFEREE',
    );
  });
});

it('pings and pongs are not held', async () => {
  const session = await open();
  const { clientMemory } = member.member.host;
  const before = clientMemory.bytes;
  let pongs = 0;
  const answered = new Promise<void>((resolve) => {
    session.ws.on('pong', () => {
      pongs += 1;
      if (pongs === 50) resolve();
    });
  });
  for (let at = 0; at < 50; at += 1) {
    session.ws.pong('x'.repeat(100));
    session.ws.ping('x'.repeat(100));
  }
  await answered;
  expect(clientMemory.bytes).toBeLessThanOrEqual(before);
  session.requests(shardOf('k'), [session.get(1, 'k')]);
  session.ws.ping();
  await session.answers(1);
  expect(clientMemory.bytes).toBeLessThanOrEqual(before);
  expect(clientMemory.bytes).toBeGreaterThanOrEqual(0);
});
