import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openLocalLogs } from '@kvorum/log-local';
import type { SharedLogs } from '@kvorum/ports';
import { createLogger, loadConfig, type Member, startMember } from '@kvorum/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePorts } from '../../../scripts/free-ports.ts';
import { temporaryDirectory } from './support/one-member.ts';
import { RawSession } from './support/raw-session.ts';

/** Names of members that from now on read garbage out of every log. */
const broken = new Set<string>();
const directory = temporaryDirectory();
let members: readonly Member[] = [];
let closeLogs: () => Promise<void> = () => Promise.resolve();

function breakable(name: string, logs: SharedLogs): SharedLogs {
  return {
    open: async (spec, options) => {
      const log = await logs.open(spec, options);
      return {
        name: log.name,
        append: (record) => log.append(record),
        bounds: () => log.bounds(),
        truncate: (before) => log.truncate(before),
        close: () => log.close(),
        read: async (...range) => {
          const found = await log.read(...range);
          if (!broken.has(name) || found.kind !== 'records' || log.name.includes('meta'))
            return found;
          const entries = found.entries.map(({ offset }) => ({ offset, bytes: Buffer.from('?') }));
          return { ...found, entries };
        },
      };
    },
    verify: () => logs.verify(),
    close: () => logs.close(),
  };
}

beforeAll(async () => {
  const ports = await freePorts(6);
  const places = [0, 1, 2].map((i) => ({
    name: `m${i + 1}`,
    client: `127.0.0.1:${ports[2 * i]}`,
    peer: `127.0.0.1:${ports[2 * i + 1]}`,
  }));
  mkdirSync(join(directory.path, 'log'), { recursive: true });
  const logs = await openLocalLogs({ directory: join(directory.path, 'log') });
  closeLogs = () => logs.close();
  const starting = places.map(async (place) => {
    const { config } = loadConfig({
      environment: {},
      flags: {},
      fixed: {
        name: place.name,
        dataDir: join(directory.path, place.name),
        members: places,
        listenClient: place.client,
        listenPeer: place.peer,
        shards: 1,
        dev: true,
        logLevel: 'silent',
      },
    });
    return startMember({
      config,
      version: '0.0.0-test',
      logger: createLogger(config),
      logs: breakable(place.name, logs.forMember()),
      logWhere: directory.path,
      signal: new AbortController().signal,
    });
  });
  members = await Promise.all(starting);
  await until(() => members.some((member) => member.host.leads('0')));
});

afterAll(async () => {
  await Promise.all(members.map((member) => member.stop()));
  await closeLogs();
  directory.remove();
});

async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!holds()) {
    if (performance.now() > endMs) throw new TypeError('it did not come about in 15 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const url = (member: Member, query = ''): string =>
  `http://${member.clientAddress}/v1/kv/keys/a${query}`;

const put = (member: Member, value: string): Promise<Response> =>
  fetch(url(member), { method: 'PUT', body: value, headers: { 'content-type': 'text/plain' } });

const isHalted = (member: Member): boolean =>
  member.host.replica('0')?.status().raft.halted !== undefined;

/** Makes a follower's replica read garbage, and the log longer by a record to read. */
async function halt(member: Member, through: Member): Promise<void> {
  broken.add(member.name);
  await put(through, 'halts');
  await until(() => isHalted(member));
}

it('forwards from a halted replica, and says so at once when the whole shard is halted', async () => {
  const leader = members.find((member) => member.host.leads('0'));
  const [first, second] = members.filter((member) => member !== leader);
  if (leader === undefined || first === undefined || second === undefined) throw new TypeError();
  expect((await put(leader, '1')).status).toBe(200);
  await until(() => first.host.replica('0')?.status().revision === 2);
  await halt(first, leader);

  // One of three: its member still takes writes and linearizable reads; a serializable read shows what the replica has.
  expect((await put(first, '2')).status).toBe(200);
  expect(await (await fetch(url(first))).json()).toMatchObject({ value: '2' });
  expect((await fetch(url(first, '?serializable=true'))).status).toBe(200);
  const session = await RawSession.open(`http://${first.clientAddress}`);
  session.requests('0', [session.put(1, 'a', '3')]);
  const [answer] = (await session.answers(1)).items;
  expect(JSON.stringify(answer)).toContain('KV_NOT_LEADER');
  expect(JSON.stringify(answer)).toContain(leader.host.memberId);

  // Two of three, and the leader gone: nobody can be elected any more.
  await halt(second, leader);
  expect((await put(leader, '4')).status).toBe(200);
  await leader.stop();
  for (const member of [first, second]) {
    for (const refused of [await put(member, '5'), await fetch(url(member))]) {
      expect(refused.status).toBe(503);
      expect(await refused.json()).toMatchObject({
        error: {
          code: 'KV_HALTED',
          message: expect.stringContaining(
            'its log contradicts this replica (unreadable-record)',
          ) as string,
        },
      });
    }
  }
  session.requests('0', [session.put(2, 'a', '6')]);
  expect(JSON.stringify((await session.answers(1)).items)).toContain('KV_HALTED');
  session.close();
}, 40_000);
