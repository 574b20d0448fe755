import { type KvError, shardId, utf8 } from '@kvorum/base';
import type { Member } from '@kvorum/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { handleControl } from '../src/http/control.ts';
import { MultiWatch } from '../src/router/multi-watch.ts';
import { TestCluster } from './support/test-cluster.ts';

const NAMES = ['m1', 'm2', 'm3', 'm4', 'm5'];

/** A watch of everything, as an SSE request opens it, with what it was told. */
class Watched {
  readonly keys: string[] = [];
  readonly revisions: (readonly [string, number])[] = [];
  created = false;
  error: KvError | undefined;
  hasRoom = true;
  progress = 0;
  readonly watch: MultiWatch;

  constructor({ host }: Member, key: string, rangeEnd?: string) {
    const range = rangeEnd === undefined ? {} : { rangeEnd: utf8(rangeEnd) };
    this.watch = new MultiWatch(host, { key: utf8(key), ...range, prevKv: true }, undefined, {
      created: () => {
        this.created = true;
      },
      events: ({ shard, events }) => {
        if (!this.hasRoom) return false;
        for (const { kv } of events) {
          this.keys.push(Buffer.from(kv.key).toString());
          this.revisions.push([shard, kv.modRevision]);
        }
        return true;
      },
      progress: (revision) => {
        this.progress = revision;
      },
      cancelled: (error) => {
        this.error = error;
      },
    });
  }
}

const keysOf = (prefix: string): string[] =>
  Array.from({ length: 20 }, (_, i) => `${prefix}${i}/a`);

const cluster = new TestCluster();
beforeAll(async () => {
  await cluster.found(NAMES, { replicas: 3 });
  await cluster.until(() => without('0').length === 2 && without('1').length === 2);
}, 60_000);
afterAll(() => cluster.dispose(), 30_000);

/** Members that have no replica of a shard. */
function without(shard: string): readonly Member[] {
  return cluster.members.filter(({ host }) => host.replica(shard) === undefined);
}

function firstWithout(shard: string): Member {
  const [member] = without(shard);
  if (member === undefined) throw new Error(`all have shard ${shard}`);
  return member;
}

async function putAll(prefix: string): Promise<void> {
  for (const key of keysOf(prefix)) await cluster.put(key);
}

it('what a member without a replica is asked, it answers, or says who can', async () => {
  await putAll('first');
  const { host, clientAddress } = firstWithout('0');
  const shards = await handleControl(host, 'shards', null);
  const leader = expect.stringMatching(/^[0-9a-f]{16}$/) as string;
  expect(shards).toMatchObject({
    ok: true,
    value: [{ shard: '0', leader }, { shard: '1' }, { shard: 'meta' }],
  });
  const log = await handleControl(host, 'log', { shard: '0' });
  expect(log).toMatchObject({ ok: true, value: { shard: '0' } });
  const hash = await handleControl(host, 'hash', { shard: '0' });
  expect(hash).toMatchObject({ ok: false, error: { code: 'KV_NOT_FOUND' } });
  const copy = await fetch(`http://${clientAddress}/v1/snapshot/0`);
  expect(copy.status).toBe(404);
  const text = await copy.text();
  const holders = cluster.members.filter((one) => one.host.replica('0') !== undefined);
  for (const { name } of holders) expect(text).toContain(name);
});

it('a watch at such a member waits for a consumer without room, and harms no other one', async () => {
  const asked = firstWithout('0');
  const [slow, quick] = [new Watched(asked, 'slow', 'slox'), new Watched(asked, 'slow', 'slox')];
  await cluster.until(() => slow.created && quick.created);
  slow.hasRoom = false;
  await putAll('slow');
  await cluster.until(() => quick.keys.length === 20);
  expect(slow.keys).toEqual([]);
  slow.hasRoom = true;
  slow.watch.resume();
  await cluster.until(() => slow.keys.length === 20);
  expect([...slow.keys].sort()).toEqual(keysOf('slow').sort());
  slow.watch.close();
  quick.watch.close();
  await cluster.until(() => cluster.members.every(({ host }) => host.served.count === 0));
}, 30_000);

it('a mark of progress that is asked for at such a member comes behind the events', async () => {
  const watched = new Watched(firstWithout('0'), 'mark', 'marl');
  await cluster.until(() => watched.created);
  await putAll('mark');
  await cluster.until(() => watched.keys.length === 20);
  watched.watch.progress();
  await cluster.until(() => watched.progress > 0);
  const last = (shard: string): number =>
    Math.max(...watched.revisions.filter(([of]) => of === shard).map(([, revision]) => revision));
  expect(watched.progress).toBeGreaterThanOrEqual(Math.min(last('0'), last('1')));
  watched.watch.close();
}, 30_000);

it('says that its start was compacted', async () => {
  const { host } = firstWithout('0');
  const request = { op: 'compact', revision: 4 } as const;
  await host.router.execute(request, { deadlineMs: host.clock.nowMs() + 20_000, shard: '0' });
  const told = await new Promise<KvError>((resolve, reject) => {
    const watch = { key: utf8('a'), rangeEnd: utf8('z'), startRevision: 2 };
    host.watches.watch(shardId('0'), watch, {
      created: () => undefined,
      events: () => {
        reject(new Error('it was told events that are gone'));
        return true;
      },
      cancelled: resolve,
    });
  });
  expect(told).toMatchObject({ code: 'KV_COMPACTED', details: { compactRevision: 4 } });
}, 30_000);

it('goes on elsewhere when the replica moves away from the member itself', async () => {
  const at = cluster.members.find(({ host }) => host.replica('0') !== undefined);
  if (at === undefined) throw new Error('nobody has shard 0');
  const watched = new Watched(at, 'move', 'movf');
  await cluster.until(() => watched.created);
  await putAll('move');
  await at.host.admin.move({ shard: '0', from: at.name, to: firstWithout('0').name });
  await cluster.until(() => at.host.replica('0') === undefined);
  await putAll('moved');
  await cluster.until(() => watched.keys.length >= 40);
  expect([...watched.keys].sort()).toEqual([...keysOf('move'), ...keysOf('moved')].sort());
  watched.watch.close();
}, 60_000);

it('goes on without gap or duplicate over several shards when the member that serves it dies', async () => {
  const watched = new Watched(firstWithout('0'), 'dir', 'dis');
  await cluster.until(() => watched.created);
  await putAll('dir');
  await cluster.until(() => watched.keys.length === 20);
  const server = cluster.members.find(({ host }) => host.served.count > 0);
  if (server === undefined) throw new Error('nobody serves it');
  cluster.running.delete(server.name);
  await server.kill();
  await putAll('dirty');
  await cluster.until(() => watched.keys.length >= 40);
  expect([...watched.keys].sort()).toEqual([...keysOf('dir'), ...keysOf('dirty')].sort());
  for (const shard of ['0', '1']) {
    const own = watched.revisions.filter(([of]) => of === shard).map(([, revision]) => revision);
    expect(own).toEqual([...own].sort((a, b) => a - b));
  }
  expect(watched.error).toBeUndefined();
  watched.watch.close();
}, 60_000);
