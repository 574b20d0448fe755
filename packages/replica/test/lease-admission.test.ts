import {
  DEFAULT_LIMITS,
  fromUtf8,
  leaseId,
  type ShardId,
  shardId,
  utf8,
  type WriteRequest,
} from '@kvorum/base';
import type { SlotCommand, SlotSpace } from '@kvorum/mvcc';
import { fixedMapOf, LeaseService, type SimMember, World } from '@kvorum/simulator';
import { VirtualClock } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';
import { LeaseAdmission } from '../src/lease-admission.ts';
import { outcome, type Pending, settled } from './support.ts';

const HOME = shardId(0);
const SHARD = shardId(1);
const L7 = leaseId(7n);
const MOVE = '00000000000000f1';
const SLOTS = [[0, 9]] as const;
const WAIT_MS = 7000;
/** A record takes its time, so that commands are queued behind it. */
const APPEND_MS = 200;
/** Long enough to ask the home, short enough for the admission to be on its way still. */
const ASKED_MS = 150;

type Request = Parameters<ReturnType<World['replica']>['submit']>[0]['request'];

const PUT: WriteRequest = { op: 'put', key: utf8('k1'), value: utf8('v'), lease: L7 };

function space(startsEmpty: boolean): SlotSpace {
  return { count: 10, ofKey: () => 3, ofRange: () => 3, startsEmpty };
}

function leaderOf(world: World, shard: ShardId): SimMember {
  const leader = world.leader(shard);
  if (leader === undefined) throw new Error(`shard ${shard} has no leader`);
  return leader;
}

/** The home, with a lease, and a shard made for a move or one that has all slots. */
async function cluster(startsEmpty: boolean): Promise<World> {
  const world = new World({
    seed: 1,
    shards: 2,
    appendMs: [APPEND_MS, APPEND_MS],
    slots: (shard) => space(startsEmpty && shard === SHARD),
    service: (w, member, parts) =>
      new LeaseService({ ...parts, self: () => member.id }, fixedMapOf(w.members, 2)),
  });
  world.start();
  for (const shard of world.shards) await world.awaitLeader(shard);
  await world.run(1000);
  const home = leaderOf(world, HOME);
  const lease = { id: L7, ttlSeconds: 60 };
  const { leases } = world.replica(home, HOME);
  expect(await outcome(world, leases.grant(lease, home.nowMs() + WAIT_MS))).toMatchObject({
    ok: true,
  });
  return world;
}

/** Sends a command to the shard's leader; resolves with `ok`, or the code of its error. */
function send(world: World, request: Request): Pending<string> {
  const leader = leaderOf(world, SHARD);
  const pending: Pending<string> = { result: undefined };
  world.replica(leader, SHARD).submit({
    request,
    session: undefined,
    deadlineMs: leader.nowMs() + WAIT_MS,
    bytes: 64,
    done: (result) => {
      pending.result = result.ok ? 'ok' : result.error.code;
    },
  });
  return pending;
}

async function told(world: World, request: Request): Promise<string> {
  return settled(world, send(world, request));
}

/** Takes a record, and changes nothing that matters here: what comes after it is queued in the meantime. */
const SLOW = { op: 'lease', action: 'drop', ids: [leaseId(99n)], term: 1, floor: 0 } as const;

/** What becomes of a put with a lease when a step of a move is queued between its admission and itself. */
async function overtaken(world: World, step: SlotCommand): Promise<string> {
  send(world, SLOW);
  const put = send(world, PUT);
  await world.run(ASKED_MS);
  expect(put.result).toBeUndefined();
  expect(await told(world, step)).toBe('ok');
  return settled(world, put);
}

const ofMove = { op: 'slots', move: MOVE } as const;
const begin: SlotCommand = {
  ...ofMove,
  action: 'import-begin',
  attempt: 1,
  slots: SLOTS,
  owned: [],
};
const seal: SlotCommand = {
  ...ofMove,
  action: 'import-rows',
  from: 0,
  to: 10,
  floor: -1,
  rows: [],
  seal: { attempt: 1, sealed: 9 },
};
const adopt: SlotCommand = { ...ofMove, action: 'adopt', mapVersion: 2 };
const freeze: SlotCommand = {
  ...ofMove,
  action: 'freeze',
  attempt: 1,
  mapVersion: 1,
  slots: SLOTS,
  owned: SLOTS,
};
const unfreeze: SlotCommand = { ...ofMove, action: 'unfreeze', attempt: 1, mapVersion: 2 };

async function keysOfLease(world: World): Promise<string[]> {
  const leader = leaderOf(world, SHARD);
  const { leases } = world.replica(leader, SHARD);
  const keys = await outcome(world, leases.keys(L7, leader.nowMs() + WAIT_MS));
  return keys.ok ? keys.value.map(fromUtf8) : [String(keys.error)];
}

describe('a put with a living lease', () => {
  it('is taken by a shard that adopts its slots between the admission and the put', async () => {
    const world = await cluster(true);
    for (const step of [begin, seal]) expect(await told(world, step)).toBe('ok');
    expect(await overtaken(world, adopt)).toBe('ok');
    expect(await keysOfLease(world)).toEqual(['k1']);
  });

  it('is taken by a shard that gets its frozen slots back between the admission and the put', async () => {
    const world = await cluster(false);
    expect(await told(world, freeze)).toBe('ok');
    expect(await overtaken(world, unfreeze)).toBe('ok');
    expect(await keysOfLease(world)).toEqual(['k1']);
  });

  it('is sent elsewhere by a shard whose slots are sealed between the admission and the put', async () => {
    const world = await cluster(true);
    expect(await told(world, begin)).toBe('ok');
    expect(await overtaken(world, seal)).toBe('KV_WRONG_SHARD');
    expect(await told(world, adopt)).toBe('ok');
    expect(await told(world, PUT)).toBe('ok');
  });

  it('is admitted anew by a leader that has not heard of leases for a while', async () => {
    let asked = 0;
    const queued: string[] = [];
    const fail = (): never => {
      throw new RangeError('not asked for');
    };
    const permit = { term: 1, seq: 1 };
    const home = {
      permit: async () => {
        asked += 1;
        return { permit, leases: [] };
      },
      drop: fail,
      keys: fail,
    };
    const admission = new LeaseAdmission({
      shard: SHARD,
      clock: new VirtualClock(),
      limits: DEFAULT_LIMITS,
      logger: { debug: fail, info: fail, warn: fail, error: fail },
      metrics: { leases: { granted: fail, renewed: fail, expired: fail, revoked: fail } },
      leases: { map: fail, readMap: fail, at: () => home },
      submit: ({ request }) => queued.push(request.op),
      confirm: fail,
      revision: fail,
      keysOf: fail,
      notLeading: fail,
    });
    const command = { request: PUT, session: undefined, deadlineMs: 1, bytes: 1, done: fail };
    admission.lead([{ id: L7, ttlSeconds: 5, grantedAtMs: 0 }]);
    admission.submit(command);
    expect([asked, queued]).toEqual([0, ['put']]);
    // It leads again, and has not read its leases yet.
    admission.stop();
    admission.submit(command);
    await new Promise((resolve) => setImmediate(resolve));
    expect([asked, queued]).toEqual([1, ['put', 'put']]);
  });

  it('leaves nothing in a shard that owns no slots', async () => {
    const world = await cluster(true);
    const { entries } = world.history(SHARD);
    const before = entries.length;
    expect(await told(world, PUT)).toBe('KV_WRONG_SHARD');
    expect(world.history(SHARD).entries.length).toBe(before);
  });
});
