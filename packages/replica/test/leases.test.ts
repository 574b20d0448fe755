import { fromUtf8, isKvError, type LeaseId, leaseId, utf8 } from '@kvorum/base';
import type { SimMember, World } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';
import {
  cluster,
  expectEqualHashes,
  outcome,
  query,
  read,
  replicaOf,
  SHARD,
  write,
} from './support.ts';

const L7 = leaseId(7n);
const WAIT_MS = 7000;

const TTL_SECONDS = 5;

async function told<T>(world: World, promise: Promise<T>): Promise<T> {
  const result = await outcome(world, promise);
  if (!result.ok) throw result.error;
  return result.value;
}

async function codeOf(world: World, promise: Promise<unknown>): Promise<string> {
  const result = await outcome(world, promise);
  if (result.ok) return 'ok';
  return isKvError(result.error) ? result.error.code : String(result.error);
}

const leases = (world: World, member: SimMember): ReturnType<typeof replicaOf>['leases'] =>
  replicaOf(world, member).leases;

function grant(
  world: World,
  leader: SimMember,
  id: LeaseId = L7,
): Promise<{ readonly ttlSeconds: number }> {
  const lease = { id, ttlSeconds: TTL_SECONDS };
  return told(world, leases(world, leader).grant(lease, leader.nowMs() + WAIT_MS));
}

function keepAlive(world: World, member: SimMember): Promise<{ readonly ttlSeconds: number }> {
  return told(world, leases(world, member).keepAlive(L7, member.nowMs() + WAIT_MS));
}

async function attach(world: World, leader: SimMember, keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    await write(world, leader, { op: 'put', key: utf8(key), value: utf8('v'), lease: L7 });
  }
}

async function keysOf(world: World, member: SimMember): Promise<string[]> {
  const result = await query(world, member, {
    op: 'range',
    key: utf8('k'),
    rangeEnd: utf8('l'),
  });
  if (!result.ok || result.response.op !== 'range') throw new Error('no range');
  return result.response.kvs.map((kv) => fromUtf8(kv.key));
}

describe('leases at their home', () => {
  it('are granted once, raised to the minimum, refused beyond the maximum', async () => {
    const { world, leader } = await cluster();
    const deadlineMs = leader.nowMs() + WAIT_MS;
    const ask = (id: bigint, ttlSeconds: number): Promise<{ readonly ttlSeconds: number }> =>
      leases(world, leader).grant({ id: leaseId(id), ttlSeconds }, deadlineMs);
    expect((await told(world, ask(7n, 60))).ttlSeconds).toBe(60);
    expect((await told(world, ask(-8n, -3))).ttlSeconds).toBe(2);
    expect(await codeOf(world, ask(7n, 60))).toBe('KV_LEASE_EXISTS');
    expect(await codeOf(world, ask(9n, 9_000_000_001))).toBe('KV_LEASE_TTL_TOO_LARGE');
    expect((await told(world, ask(9n, 9_000_000_000))).ttlSeconds).toBe(9_000_000_000);
    const { ids } = await told(world, leases(world, leader).list(leader.nowMs() + WAIT_MS));
    expect(ids).toEqual([-8n, 7n, 9n]);
    await expectEqualHashes(world);
  });

  it('take their keys with them in one revision, once', async () => {
    const { world, leader } = await cluster();
    await grant(world, leader);
    await attach(world, leader, ['k3', 'k1', 'k2']);
    const time = await told(
      world,
      leases(world, leader).timeToLive(L7, true, leader.nowMs() + WAIT_MS),
    );
    expect(time.keys.map(fromUtf8)).toEqual(['k1', 'k2', 'k3']);
    expect([time.grantedSeconds, time.ttlSeconds]).toEqual([5, 4]);
    const twice = [1, 2].map(() => leases(world, leader).revoke(L7, leader.nowMs() + WAIT_MS));
    const both = Promise.allSettled(twice);
    const codes = (await told(world, both)).map((one) =>
      one.status === 'fulfilled' ? 'ok' : (one.reason as { code?: string }).code,
    );
    expect(codes).toEqual(['ok', 'KV_LEASE_NOT_FOUND']);
    expect(await keysOf(world, leader)).toEqual([]);
    expect(replicaOf(world, leader).status().revision).toBe(5);
    const gone = leases(world, leader).timeToLive(L7, true, leader.nowMs() + WAIT_MS);
    expect(await told(world, gone)).toMatchObject({ ttlSeconds: -1, grantedSeconds: 0 });
    const again = leases(world, leader).revoke(L7, leader.nowMs() + WAIT_MS);
    expect(await codeOf(world, again)).toBe('KV_LEASE_NOT_FOUND');
    await expectEqualHashes(world);
  });

  it('expire when nobody keeps them alive, and not before', async () => {
    const { world, leader } = await cluster();
    await grant(world, leader);
    await attach(world, leader, ['k1', 'k2']);
    await world.run(4000);
    expect((await keepAlive(world, leader)).ttlSeconds).toBe(5);
    await world.run(4500);
    expect(await keysOf(world, leader)).toEqual(['k1', 'k2']);
    await world.run(1500);
    expect(await keysOf(world, leader)).toEqual([]);
    expect(replicaOf(world, leader).status().revision).toBe(4);
    expect((await keepAlive(world, leader)).ttlSeconds).toBe(0);
    await expectEqualHashes(world);
  });

  it('expire by the hundred with a revision each, in few records', async () => {
    const { world, leader } = await cluster();
    const ids = Array.from({ length: 300 }, (_, i) => leaseId(BigInt(i + 1)));
    const deadlineMs = leader.nowMs() + WAIT_MS;
    await told(
      world,
      Promise.all(ids.map((id) => leases(world, leader).grant({ id, ttlSeconds: 2 }, deadlineMs))),
    );
    for (const id of [1n, 2n, 3n]) {
      const put = { op: 'put', key: utf8(`k${id}`), value: utf8('v'), lease: leaseId(id) } as const;
      await write(world, leader, put);
    }
    const before = world.history(SHARD).entries.length;
    await world.run(4000);
    const { ids: left } = await told(world, leases(world, leader).list(leader.nowMs() + WAIT_MS));
    expect(left).toEqual([]);
    expect(replicaOf(world, leader).status().revision).toBe(7);
    expect(world.history(SHARD).entries.length - before).toBeLessThan(4);
  });
});

describe('leases over a change of leader', () => {
  it('have their whole time again', async () => {
    const { world, leader } = await cluster();
    await grant(world, leader);
    await attach(world, leader, ['k1']);
    await world.run(4000);
    leader.crash();
    const next = await world.awaitLeader(SHARD);
    await world.run(4500);
    expect(await keysOf(world, next)).toEqual(['k1']);
    await world.run(4500);
    expect(await keysOf(world, next)).toEqual([]);
  });

  it('are not revoked by a leader that was deposed while it stood still', async () => {
    const { world, leader } = await cluster();
    await grant(world, leader);
    await attach(world, leader, ['k1']);
    leader.pause();
    await world.run(3000);
    const next = world.members.find(
      (member) => member !== leader && replicaOf(world, member).status().raft.role === 'leader',
    );
    if (next === undefined) throw new Error('no next leader');
    for (let i = 0; i < 5; i += 1) {
      await world.run(1500);
      expect((await keepAlive(world, next)).ttlSeconds).toBe(5);
    }
    // By its own clock the lease is long over; what it logs about that is of an earlier term.
    leader.resume();
    await world.run(1000);
    expect(await keysOf(world, next)).toEqual(['k1']);
    expect(await read(world, leader, 'k1')).toBe('v');
    await expectEqualHashes(world);
  });

  it('are not renewed by a leader that nobody follows any more', async () => {
    const { world, leader } = await cluster();
    await grant(world, leader);
    for (const member of world.members) {
      if (member !== leader) world.network.cut(leader.id, member.id);
    }
    const asked = leases(world, leader).keepAlive(L7, leader.nowMs() + 3000);
    expect(await codeOf(world, asked)).not.toBe('ok');
  });
});
