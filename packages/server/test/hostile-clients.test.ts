import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { utf8 } from '@kvorum/base';
import { FRAME, OP } from '@kvorum/wire';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';
import { RawSession } from './support/raw-session.ts';

const directory = temporaryDirectory();
let member: OneMember;
const open: Socket[] = [];
beforeAll(async () => {
  member = await startOneMember(directory.path, {
    'limits.shardQueueCommandsMax': 50,
    'limits.watchBufferBytesMax': 200_000,
    'limits.connectionsPerAddressMax': 2100,
  });
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});
afterAll(async () => {
  await member.stop();
  directory.remove();
});

async function silentConnections(count: number): Promise<void> {
  const { hostname, port } = new URL(member.url);
  for (let i = 0; i < count; i += 1) {
    const socket = connect(Number(port), hostname).on('error', () => undefined);
    open.push(socket);
  }
  const connecting = open.filter((socket) => socket.connecting);
  await Promise.all(connecting.map((socket) => once(socket, 'connect')));
}

async function serves(): Promise<void> {
  const answer = await fetch(`${member.url}/v1/kv/keys/still`, {
    method: 'PUT',
    body: 'here',
    headers: { 'content-type': 'text/plain' },
  });
  expect(answer.status).toBe(200);
}

/** What a client reads that sends its whole body before it looks at the answer, as most of them do. */
async function answerAfter(bodyBytes: number): Promise<string> {
  const { hostname, port } = new URL(member.url);
  const socket = connect(Number(port), hostname).on('error', () => undefined);
  open.push(socket);
  await once(socket, 'connect');
  const type = 'content-type: application/json';
  socket.write(
    `POST /v1/kv/put HTTP/1.1\r\nhost: k\r\n${type}\r\ncontent-length: ${bodyBytes}\r\n\r\n`,
  );
  socket.pause();
  const piece = Buffer.alloc(1 << 20, 'x');
  for (let left = bodyBytes; left > 0; left -= piece.length) {
    const chunk = piece.subarray(0, left);
    await new Promise<void>((resolve, reject) => {
      socket.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }
  const answered = once(socket, 'data');
  socket.resume();
  const [answer] = (await answered) as [Buffer];
  return answer.toString();
}

describe('a member goes on serving', () => {
  it('after a body far over the limit, whose sender still reads why', async () => {
    const answer = await answerAfter(12 << 20);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toMatch(/KV_REQUEST_TOO_LARGE/);
    await serves();
  });

  it('after a body too long even to be read off: its connection is closed', async () => {
    await expect(answerAfter(100 << 20)).rejects.toThrow(/EPIPE|ECONNRESET/);
    await serves();
  });

  it('with thousands of half-open connections', async () => {
    await silentConnections(2000);
    await serves();
  });

  it('with more of them than one address may have: the oldest silent ones make room', async () => {
    await silentConnections(2400);
    await serves();
    expect(open.filter((socket) => !socket.destroyed).length).toBeLessThanOrEqual(2400);
  });

  it('when its queue is full, and says so', async () => {
    const session = await RawSession.open(member.url);
    const shard = member.member.host.router.shardOf(utf8('q/0'));
    const items = Array.from({ length: 2000 }, (_, i) => session.put(i, `q/${i}`, 'v'));
    session.requests(shard, items);
    const { items: answers } = await session.answers(2000);
    const refused = answers.filter((item) => item[1] === 2).map((item) => item[2] as unknown[]);
    expect(refused.length).toBeGreaterThan(0);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(50);
    for (const error of refused)
      expect([error[0], error[3]]).toEqual(['KV_TOO_MANY_REQUESTS', 'not-applied']);
    session.close();
    await serves();
  });

  it('with a client that does not read its watch, which then gets every event once and in order', async () => {
    const watcher = await RawSession.open(member.url);
    const shard = member.member.host.router.shardOf(utf8('big/0'));
    const key = Buffer.from('big/');
    watcher.send([FRAME.watchCreate, 1, shard, { key, rangeEnd: Buffer.from('big0') }]);
    await watcher.next(FRAME.watchCreated);
    watcher.ws.pause();
    const writer = await RawSession.open(member.url);
    const value = Buffer.alloc(20_000, 'x');
    const count = 600;
    for (let i = 0; i < count; i += 20) {
      const items = Array.from({ length: 20 }, (_, j) => [
        j,
        OP.put,
        0,
        false,
        Buffer.from(`big/${i + j}`),
        value,
      ]);
      writer.requests(shard, items);
      const { items: answers } = await writer.answers(20);
      expect(answers.every((item) => item[1] === 0)).toBe(true);
    }
    await serves();
    watcher.ws.resume();
    const seen: string[] = [];
    while (seen.length < count) {
      const [, , , events] = await watcher.next(FRAME.watchEvents);
      for (const event of events as unknown[][]) seen.push(String(event[1]));
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => `big/${i}`));
    watcher.close();
    writer.close();
  });
});
