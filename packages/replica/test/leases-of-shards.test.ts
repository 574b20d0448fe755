import {
  fromUtf8,
  isKvError,
  leaseId,
  type ShardId,
  shardId,
  utf8,
  type WriteRequest,
} from '@kvorum/base';
import { decodeLeaseMark, LEASE_MARK_KEY } from '@kvorum/mvcc';
import { fixedMapOf, LeaseService, type SimMember, World } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';
import { outcome, type Pending, settled } from './support.ts';

const HOME = shardId(0);
const OTHERS = [shardId(1), shardId(2)];
const L7 = leaseId(7n);
const WAIT_MS = 7000;

async function cluster(): Promise<World> {
  const world = new World({
    seed: 1,
    shards: 3,
    service: (w, member, parts) =>
      new LeaseService({ ...parts, self: () => member.id }, fixedMapOf(w.members, 3)),
  });
  world.start();
  for (const shard of world.shards) await world.awaitLeader(shard);
  await world.run(500);
  return world;
}

function leaderOf(world: World, shard: ShardId): SimMember {
  const leader = world.leader(shard);
  if (leader === undefined) throw new Error(`shard ${shard} has no leader`);
  return leader;
}

type AtHome = ReturnType<World['replica']>['leases'];

/** What became of a request to the home's leader: its answer, or the code of its error. */
async function atHome<T>(
  world: World,
  ask: (leases: AtHome, deadlineMs: number) => Promise<T>,
): Promise<T | string> {
  const leader = leaderOf(world, HOME);
  const { leases } = world.replica(leader, HOME);
  const result = await outcome(world, ask(leases, leader.nowMs() + WAIT_MS));
  if (result.ok) return result.value;
  return isKvError(result.error) ? result.error.code : String(result.error);
}

const grant = (world: World): Promise<unknown> =>
  atHome(world, (leases, deadlineMs) => leases.grant({ id: L7, ttlSeconds: 5 }, deadlineMs));
const revoke = (world: World): Promise<unknown> =>
  atHome(world, (leases, deadlineMs) => leases.revoke(L7, deadlineMs));

/** The revision of a write, or the code of its error. */
async function write(
  world: World,
  shard: ShardId,
  request: WriteRequest,
): Promise<number | string> {
  const leader = leaderOf(world, shard);
  const pending: Pending<number | string> = { result: undefined };
  world.replica(leader, shard).submit({
    request,
    session: undefined,
    deadlineMs: leader.nowMs() + WAIT_MS,
    bytes: 64,
    done: (result) => {
      pending.result = result.ok ? result.response.revision : result.error.code;
    },
  });
  return settled(world, pending);
}

const attach = (world: World, shard: ShardId, key: string): Promise<number | string> =>
  write(world, shard, { op: 'put', key: utf8(key), value: utf8('v'), lease: L7 });

async function keysOf(world: World, shard: ShardId): Promise<string[]> {
  const leader = leaderOf(world, shard);
  const pending: Pending<string[]> = { result: undefined };
  const request = { op: 'range', key: utf8('k'), rangeEnd: utf8('l') } as const;
  world.replica(leader, shard).read(request, leader.nowMs() + WAIT_MS, (result) => {
    if (!result.ok || result.response.op !== 'range') throw new Error('no range');
    pending.result = result.response.kvs.map((kv) => fromUtf8(kv.key));
  });
  return settled(world, pending);
}

function markOf(world: World, shard: ShardId): { term: number; floor: number } | undefined {
  const rows = leaderOf(world, shard).stores.rows(shard, 'now');
  const row = rows.find(([key]) => key.length === 1 && key[0] === LEASE_MARK_KEY[0]);
  const mark = row === undefined ? undefined : decodeLeaseMark(row[1]);
  return mark?.ok === true ? mark.value : undefined;
}

describe('a lease with keys in several shards', () => {
  it('takes them all with it, in one revision of each shard', async () => {
    const world = await cluster();
    await grant(world);
    expect(await attach(world, HOME, 'k0')).toBe(2);
    expect(await attach(world, OTHERS[0] as ShardId, 'k2')).toBe(2);
    expect(await attach(world, OTHERS[0] as ShardId, 'k1')).toBe(3);
    const time = await atHome(world, (leases, deadlineMs) =>
      leases.timeToLive(L7, true, deadlineMs),
    );
    expect(typeof time === 'object' && time.keys.map(fromUtf8)).toEqual(['k0', 'k1', 'k2']);
    expect(await revoke(world)).toEqual({ revision: 3 });
    for (const shard of world.shards) expect(await keysOf(world, shard)).toEqual([]);
    expect(
      world.replica(leaderOf(world, OTHERS[0] as ShardId), OTHERS[0] as ShardId).status().revision,
    ).toBe(4);
    expect(await attach(world, OTHERS[1] as ShardId, 'k3')).toBe('KV_LEASE_NOT_FOUND');
    expect(await revoke(world)).toBe('KV_LEASE_NOT_FOUND');
  });

  it('is unknown in a shard that nobody has put a key with it, until somebody does', async () => {
    const world = await cluster();
    const [shard] = OTHERS as [ShardId];
    expect(await attach(world, shard, 'k1')).toBe('KV_LEASE_NOT_FOUND');
    await grant(world);
    expect(await attach(world, shard, 'k1')).toBe(2);
    const inTxn = { op: 'put', key: utf8('k2'), value: utf8('v'), lease: L7 } as const;
    const txn = { op: 'txn', compare: [], success: [inTxn], failure: [] } as const;
    expect(await write(world, OTHERS[1] as ShardId, txn)).toBe(2);
  });

  it('expires everywhere once nobody keeps it alive, whoever leads its home', async () => {
    const world = await cluster();
    await grant(world);
    for (const shard of world.shards) await attach(world, shard, `k${shard}`);
    await world.run(3000);
    leaderOf(world, HOME).crash();
    await world.awaitLeader(HOME);
    await world.run(4500);
    for (const shard of world.shards) expect(await keysOf(world, shard)).toEqual([`k${shard}`]);
    await world.run(5000);
    for (const shard of world.shards) expect(await keysOf(world, shard)).toEqual([]);
  });

  it('goes on ending under the next leader of its home', async () => {
    const world = await cluster();
    const [shard] = OTHERS as [ShardId];
    await grant(world);
    for (const each of world.shards) await attach(world, each, `k${each}`);
    // Nobody answers for that shard: the revocation stands half done.
    const home = leaderOf(world, HOME);
    const other = leaderOf(world, shard);
    expect(other).not.toBe(home);
    for (const member of world.members)
      if (member !== other) world.network.cut(member.id, other.id);
    const { leases } = world.replica(home, HOME);
    const asked = outcome(world, leases.revoke(L7, home.nowMs() + 400));
    expect(await asked).toMatchObject({ ok: false });
    expect(await keysOf(world, HOME)).toEqual([]);
    expect(await grant(world)).toBe('KV_LEASE_EXISTS');
    // There are keys of it still: nobody may think that it is gone.
    const left = { ttlSeconds: 0, grantedSeconds: 5 };
    const time = (leases: AtHome, deadlineMs: number) => leases.timeToLive(L7, false, deadlineMs);
    expect(await atHome(world, time)).toMatchObject(left);
    const listed = await atHome(world, (leases, deadlineMs) => leases.list(deadlineMs));
    expect(listed).toMatchObject({ ids: [L7] });
    home.crash();
    world.network.heal();
    home.start();
    await world.run(8000);
    for (const each of world.shards) expect(await keysOf(world, each)).toEqual([]);
    expect(await atHome(world, time)).toMatchObject({ ttlSeconds: -1 });
    expect(await grant(world)).toMatchObject({ ttlSeconds: 5 });
  });

  it('is refused by a shard whose home has gone on, to whoever led it before', async () => {
    const world = await cluster();
    const [shard] = OTHERS as [ShardId];
    await grant(world);
    await attach(world, shard, 'k1');
    await revoke(world);
    const mark = markOf(world, shard);
    expect(mark?.term).toBeGreaterThan(0);
    const { term = 0, floor = 0 } = mark ?? {};
    // What was permitted before the drop, and arrives after it.
    const leader = leaderOf(world, shard);
    for (const permit of [
      { term, seq: floor - 1 },
      { term: term - 1, seq: floor + 7 },
    ]) {
      const pending: Pending<string> = { result: undefined };
      world.replica(leader, shard).submit({
        request: { op: 'lease', action: 'admit', leases: [{ id: L7, ttlSeconds: 5 }], permit },
        session: undefined,
        deadlineMs: leader.nowMs() + WAIT_MS,
        bytes: 64,
        done: (result) => {
          pending.result = result.ok ? 'ok' : result.error.code;
        },
      });
      expect(await settled(world, pending)).toBe('KV_DEPOSED');
    }
  });
});
