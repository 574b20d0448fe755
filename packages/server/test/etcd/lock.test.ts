import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { fromUtf8, utf8 } from '@kvorum/base';
import {
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import {
  CampaignRequestSchema,
  LeaderRequestSchema,
  type LeaderResponse,
  ProclaimRequestSchema,
  ResignRequestSchema,
} from '@kvorum/wire/gen/v3electionpb/v3election_pb';
import { LockRequestSchema, UnlockRequestSchema } from '@kvorum/wire/gen/v3lockpb/v3lock_pb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { electionHandlers } from '../../src/etcd/services/election.ts';
import { leaseHandlers } from '../../src/etcd/services/lease.ts';
import { lockHandlers } from '../../src/etcd/services/lock.ts';
import { Collected, callOf, refusal } from '../support/etcd-calls.ts';
import { type OneMember, startOneMember, temporaryDirectory } from '../support/one-member.ts';

describe.each([1, 4])('with %i shards', (shards) => {
  const directory = temporaryDirectory();
  let running: OneMember | undefined;
  beforeAll(async () => {
    running = await startOneMember(directory.path, { shards });
  });
  afterAll(async () => {
    await running?.stop();
    directory.remove();
  });
  const host = () => {
    if (running === undefined) throw new Error('not started');
    return running.member.host;
  };
  const grant = async (id: bigint): Promise<bigint> => {
    const request = create(LeaseGrantRequestSchema, { ID: id, TTL: 60n });
    return (await leaseHandlers(host()).leaseGrant(request, callOf())).ID;
  };
  const revoke = (id: bigint) =>
    leaseHandlers(host()).leaseRevoke(create(LeaseRevokeRequestSchema, { ID: id }), callOf());
  const lock = async (name: string, lease: bigint, signal?: AbortSignal): Promise<string> => {
    const request = create(LockRequestSchema, { name: utf8(name), lease });
    return fromUtf8((await lockHandlers(host()).lock(request, callOf({}, signal))).key);
  };
  const unlock = (key: string) =>
    lockHandlers(host()).unlock(create(UnlockRequestSchema, { key: utf8(key) }), callOf());
  const isThere = async (key: string): Promise<boolean> => {
    const deadlineMs = host().clock.nowMs() + 20_000;
    const request = { op: 'range', key: utf8(key), countOnly: true } as const;
    const { response } = await host().router.execute(request, { deadlineMs });
    return response.op === 'range' && response.count > 0;
  };
  const appears = async (key: string): Promise<void> => {
    while (!(await isThere(key))) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it('locks in turn: whoever came first, until he unlocks or his lease ends', async () => {
    const order: string[] = [];
    for (const id of [0xan, 0xbn, 0xcn]) await grant(id);
    expect(await lock('dir/name', 0xan)).toBe('dir/name/a');
    expect(await lock('dir/name', 0xan)).toBe('dir/name/a');
    const second = lock('dir/name', 0xbn).then((key) => order.push(key));
    await appears('dir/name/b');
    const third = lock('dir/name', 0xcn).then((key) => order.push(key));
    await appears('dir/name/c');
    expect(order).toEqual([]);
    await unlock('dir/name/a');
    await second;
    expect(order).toEqual(['dir/name/b']);
    await revoke(0xbn);
    await third;
    expect(order).toEqual(['dir/name/b', 'dir/name/c']);
  });

  it('makes a lease of a minute for who has none, and knows no other', async () => {
    const key = await lock('own', 0n);
    const hex = /^own\/([0-9a-f]+)$/.exec(key)?.[1] ?? '';
    const deadlineMs = host().clock.nowMs() + 20_000;
    const { ids } = await host().leases.list(deadlineMs);
    expect(ids).toContain(BigInt(`0x${hex}`));
    expect(await refusal(lock('own', 12345n))).toBe(
      'UNKNOWN etcdserver: requested lease not found',
    );
  });

  it('leaves no key behind of who gave up or lost his lease while waiting', async () => {
    for (const id of [0x1an, 0x1bn, 0x1cn]) await grant(id);
    await lock('gone', 0x1an);
    const giving = new AbortController();
    const given = refusal(lock('gone', 0x1bn, giving.signal));
    await appears('gone/1b');
    giving.abort();
    expect(await given).toBe('CANCELLED etcdserver: request canceled');
    expect(await isThere('gone/1b')).toBe(false);
    const losing = refusal(lock('gone', 0x1cn));
    await appears('gone/1c');
    await revoke(0x1cn);
    await unlock('gone/1a');
    expect(await losing).toBe('UNKNOWN mutex: session is expired');
  });

  it('elects in turn, proclaims, resigns, and tells who observes', async () => {
    const { campaign, proclaim, leader, resign, observe } = electionHandlers(host());
    const name = utf8('el/ection');
    const run = (lease: bigint, value: string) =>
      campaign(create(CampaignRequestSchema, { name, lease, value: utf8(value) }), callOf());
    const asked = create(LeaderRequestSchema, { name });
    expect(await refusal(leader(asked, callOf()))).toBe('UNKNOWN election: no leader');
    const observing = new AbortController();
    const out = new Collected<LeaderResponse>();
    const observed = refusal(observe(asked, out, callOf({}, observing.signal)));
    for (const id of [0x2an, 0x2bn]) await grant(id);
    const first = await run(0x2an, 'one');
    expect(fromUtf8(first.leader?.key ?? utf8(''))).toBe('el/ection/2a');
    expect(fromUtf8((await leader(asked, callOf())).kv?.value ?? utf8(''))).toBe('one');
    await out.first(1);
    const say = (of: MessageInitShape<typeof ProclaimRequestSchema>) =>
      proclaim(create(ProclaimRequestSchema, of), callOf());
    if (first.leader === undefined) throw new Error('no leader key');
    await say({ leader: first.leader, value: utf8('two') });
    await out.first(2);
    const second = run(0x2bn, 'three');
    await appears('el/ection/2b');
    await resign(create(ResignRequestSchema, { leader: first.leader }), callOf());
    const elected = await second;
    expect(elected.leader).toMatchObject({ lease: 0x2bn });
    expect(await refusal(say({ leader: first.leader, value: utf8('no') }))).toBe(
      'UNKNOWN election: not leader',
    );
    const told = (await out.first(3)).map(({ kv }) => fromUtf8(kv?.value ?? utf8('')));
    expect(told).toEqual(['one', 'two', 'three']);
    for (const empty of [
      say({ value: utf8('x') }),
      resign(create(ResignRequestSchema, {}), callOf()),
    ]) {
      expect(await refusal(empty)).toBe('UNKNOWN "leader" field must be provided');
    }
    observing.abort();
    expect(await observed).toBe('CANCELLED etcdserver: request canceled');
  });
});
