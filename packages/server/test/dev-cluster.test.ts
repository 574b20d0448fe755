import { fromUtf8, utf8 } from '@kvorum/base';
import { DevCluster, type Member } from '@kvorum/server';
import { FRAME } from '@kvorum/wire';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freeDevPort } from '../../../scripts/free-ports.ts';
import { temporaryDirectory } from './support/one-member.ts';
import { RawSession } from './support/raw-session.ts';

const directory = temporaryDirectory();
let cluster: DevCluster;
let clientPort = 0;

const options = () => ({
  members: 3,
  shards: 3,
  dataDir: directory.path,
  clientPort,
  ephemeral: false,
  log: 'local' as const,
  brokers: [],
});

beforeAll(async () => {
  clientPort = await freeDevPort(3);
  cluster = new DevCluster(options());
  await cluster.start(new AbortController().signal);
});
afterAll(async () => {
  await cluster.stop();
  directory.remove();
});

const leading = (shard: string): Member => {
  const member = cluster.members.find((candidate) => candidate.host.leads(shard));
  if (member === undefined) throw new TypeError(`nobody leads shard ${shard}`);
  return member;
};
const others = (member: Member): Member[] => cluster.members.filter((other) => other !== member);
const url = (member: Member, key: string): string =>
  `http://${member.clientAddress}/v1/kv/keys/${key}`;

async function put(member: Member, key: string, value: string): Promise<Response> {
  const headers = { 'content-type': 'text/plain' };
  return fetch(url(member, key), { method: 'PUT', body: value, headers });
}

async function value(member: Member, key: string): Promise<unknown> {
  return ((await (await fetch(url(member, key))).json()) as { value?: string }).value;
}

it('spreads the leaders, one shard each', () => {
  const leaders = ['0', '1', '2'].map((shard) => leading(shard).name);
  expect(new Set(leaders).size).toBe(3);
});

it('takes writes and reads at every member, whoever leads', async () => {
  for (const [i, member] of cluster.members.entries()) {
    for (const key of ['a', 'b', 'c', 'd']) {
      expect((await put(member, `${key}${i}`, `from ${member.name}`)).status).toBe(200);
    }
  }
  for (const member of cluster.members) {
    for (const [i, writer] of cluster.members.entries()) {
      expect(await value(member, `a${i}`)).toBe(`from ${writer.name}`);
    }
  }
});

it('tells a native client where the leader is', async () => {
  const key = 'k';
  const shard = cluster.members[0]?.host.router.shardOf(utf8(key)) ?? '';
  const leader = leading(shard);
  const [other] = others(leader);
  const session = await RawSession.open(`http://${other?.clientAddress}`);
  session.requests(shard, [session.put(1, key, 'v')]);
  const [, , plain] = (await session.answers(1)).items[0] ?? [];
  const [code, , details] = plain as unknown[];
  expect([code, details]).toEqual([
    'KV_NOT_LEADER',
    { shard, mapVersion: expect.any(Number) as unknown, leader: leader.host.memberId },
  ]);
  session.close();
});

it('hands leadership over when any member is asked, and tells the clients', async () => {
  const from = leading('1');
  const [to, asked] = others(from);
  if (to === undefined || asked === undefined) throw new TypeError('three members');
  const session = await RawSession.open(`http://${asked.clientAddress}`);
  session.send([FRAME.control, 1, 'transfer', { shard: '1', member: to.name }]);
  expect((await session.next(FRAME.controlResponse))[2]).toBeNull();
  for (;;) {
    const [, , leaders] = await session.next(FRAME.mapChanged);
    if ((leaders as Record<string, string>)['1'] === to.host.memberId) break;
  }
  session.close();
  expect(cluster.members.map((member) => member.host.held.has('1'))).toEqual(
    cluster.members.map((member) => member === to),
  );
});

it('agrees on the state of every shard', async () => {
  const key = utf8('agree');
  const shard = cluster.members[0]?.host.router.shardOf(key) ?? '';
  await put(leading(shard), fromUtf8(key), 'v');
  for (const member of cluster.members) expect(await value(member, 'agree')).toBe('v');
  const replicas = cluster.members.flatMap((member) => member.host.replica(shard) ?? []);
  const hashes = await Promise.all(replicas.map((replica) => replica.stateHash()));
  expect(hashes.length).toBe(3);
  expect(new Set(hashes.map((found) => `${found.index} ${found.hash}`)).size).toBe(1);
});

it('goes on when a member stops, answering all that it had accepted', async () => {
  const shard = '2';
  const leaver = leading(shard);
  const session = await RawSession.open(`http://${leaver.clientAddress}`);
  const keys = Array.from({ length: 3000 }, (_, i) => `stop${i}`).filter(
    (key) => leaver.host.router.shardOf(utf8(key)) === shard,
  );
  session.requests(
    shard,
    keys.map((key, id) => session.put(id, key, 'v')),
  );
  const { items } = await session.answers(1);
  session.requests(
    shard,
    keys.map((key, i) => session.put(keys.length + i, `${key}/late`, 'v')),
  );
  const stopped = leaver.stop();
  items.push(...(await session.answers(2 * keys.length - items.length)).items);
  await stopped;
  expect((await session.closed).code).toBe(1001);
  const [survivor] = others(leaver);
  if (survivor === undefined) throw new TypeError('three members');
  expect((await put(survivor, keys[0] ?? '', 'after')).status).toBe(200);
  for (const [id, key] of keys.entries()) {
    const [, kind, plain] = items.find((item) => item[0] === id) ?? [];
    const found = await value(survivor, key);
    if (kind === 0 && id > 0) expect(found).toBe('v');
    if (kind === 2 && (plain as unknown[])[3] === 'not-applied') expect(found).toBeUndefined();
  }
});

it('finishes the REST requests it had taken before it stops', async () => {
  const running = cluster.members.filter((member) => member.host.refusal() === undefined);
  const [leaver, survivor] = running;
  if (leaver === undefined || survivor === undefined) throw new TypeError('two members');
  const puts = Array.from({ length: 20 }, (_, i) => put(leaver, `rest${i}`, 'v'));
  await puts[0];
  const stopped = leaver.stop();
  const statuses = await Promise.all(puts.map(async (answer) => (await answer).status));
  expect(statuses.every((status) => status === 200 || status === 503)).toBe(true);
  await stopped;
});
