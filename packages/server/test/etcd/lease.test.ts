import { create } from '@bufbuild/protobuf';
import { fromUtf8, utf8 } from '@kvorum/base';
import {
  LeaseGrantRequestSchema,
  LeaseGrantResponseSchema,
  type LeaseKeepAliveRequest,
  LeaseKeepAliveRequestSchema,
  type LeaseKeepAliveResponse,
  LeaseLeasesRequestSchema,
  LeaseRevokeRequestSchema,
  LeaseRevokeResponseSchema,
  LeaseTimeToLiveRequestSchema,
  type LeaseTimeToLiveResponse,
  PutRequestSchema,
  RangeRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kvHandlers } from '../../src/etcd/services/kv.ts';
import { leaseHandlers } from '../../src/etcd/services/lease.ts';
import {
  Collected,
  callOf,
  Pushed,
  plain,
  refusal,
  withoutLeaders,
} from '../support/etcd-calls.ts';
import { type OneMember, startOneMember, temporaryDirectory } from '../support/one-member.ts';

const SHARDS = 2;

describe(`the Lease service over ${SHARDS} shards`, () => {
  const directory = temporaryDirectory();
  let running: OneMember | undefined;
  const call = callOf();
  const host = () => {
    if (running === undefined) throw new Error('not started');
    return running.member.host;
  };
  const grant = (TTL: bigint, ID = 0n) =>
    leaseHandlers(host()).leaseGrant(create(LeaseGrantRequestSchema, { TTL, ID }), call);
  const revoke = (ID: bigint) =>
    leaseHandlers(host()).leaseRevoke(create(LeaseRevokeRequestSchema, { ID }), call);
  const timeToLive = (ID: bigint): Promise<LeaseTimeToLiveResponse> =>
    leaseHandlers(host()).leaseTimeToLive(
      create(LeaseTimeToLiveRequestSchema, { ID, keys: true }),
      call,
    );
  const put = (key: string, lease: bigint) =>
    kvHandlers(host()).put(create(PutRequestSchema, { key: utf8(key), lease }), call);
  const keys = async (): Promise<string[]> => {
    const all = create(RangeRequestSchema, { key: utf8('\0'), rangeEnd: utf8('\0') });
    return (await kvHandlers(host()).range(all, call)).kvs.map((kv) => fromUtf8(kv.key));
  };

  beforeAll(async () => {
    running = await startOneMember(directory.path, { shards: SHARDS });
  });
  afterAll(async () => {
    await running?.stop();
    directory.remove();
  });

  it('grants with an id of its own or a given one, and within the bounds of the time to live', async () => {
    const own = await grant(60n);
    expect(own.ID > 0n).toBe(true);
    expect(own.TTL).toBe(60n);
    const given = plain(LeaseGrantResponseSchema, await grant(-5n, -7n));
    expect(given).toEqual({ header: { revision: '1' }, ID: '-7', TTL: '2' });
    expect(await refusal(grant(60n, -7n))).toBe('KV_LEASE_EXISTS etcdserver: lease already exists');
    expect(await refusal(grant(9_000_000_001n))).toBe(
      'KV_LEASE_TTL_TOO_LARGE etcdserver: too large lease TTL',
    );
    await revoke(own.ID);
    await revoke(-7n);
  });

  it('takes the keys of a lease with it, whichever shards they are in', async () => {
    await grant(600n, 7n);
    const names = ['a/1', 'b/1', 'c/1', 'd/1', 'e/1'];
    for (const name of names) await put(name, 7n);
    const shards = new Set(names.map((name) => host().router.shardOf(utf8(name))));
    expect(shards.size).toBe(SHARDS);
    const time = await timeToLive(7n);
    expect([time.grantedTTL, time.TTL > 590n]).toEqual([600n, true]);
    expect(time.keys.map(fromUtf8)).toEqual(names);
    expect(plain(LeaseRevokeResponseSchema, await revoke(7n))).toMatchObject({ header: {} });
    expect(await keys()).toEqual([]);
    expect(await refusal(put('a/1', 7n))).toBe(
      'KV_LEASE_NOT_FOUND etcdserver: requested lease not found',
    );
    expect(await refusal(revoke(7n))).toBe(
      'KV_LEASE_NOT_FOUND etcdserver: requested lease not found',
    );
    expect((await timeToLive(7n)).TTL).toBe(-1n);
  });

  it('keeps alive in the order of the requests, and answers 0 for what is not there', async () => {
    await grant(100n, 1n);
    await grant(200n, 2n);
    const requests = new Pushed<LeaseKeepAliveRequest>();
    const answers = new Collected<LeaseKeepAliveResponse>();
    const done = leaseHandlers(host()).leaseKeepAlive(requests, answers, call);
    for (const ID of [2n, 3n, 1n, 2n]) requests.push(create(LeaseKeepAliveRequestSchema, { ID }));
    const found = await answers.first(4);
    expect(found.map(({ ID, TTL }) => [ID, TTL])).toEqual([
      [2n, 200n],
      [3n, 0n],
      [1n, 100n],
      [2n, 200n],
    ]);
    requests.end();
    await done;
    const { leases } = await leaseHandlers(host()).leaseLeases(
      create(LeaseLeasesRequestSchema, {}),
      call,
    );
    expect(leases.map(({ ID }) => ID)).toEqual([1n, 2n]);
  });

  it('counts what the tests above did, under etcd’s names', async () => {
    const text = await host().metrics.registry.metrics();
    const counts = [...text.matchAll(/^(\w*leases?_?\w*)(?:\{shard="0"\})? (\d+)$/gm)];
    expect(counts.map(([, name, count]) => `${name} ${count}`)).toEqual([
      'etcd_debugging_lease_granted_total 5',
      'etcd_debugging_lease_revoked_total 3',
      'etcd_debugging_lease_renewed_total 3',
      'etcd_debugging_server_lease_expired_total 0',
      'etcd_debugging_lease_ttl_total_sum 962',
      'etcd_debugging_lease_ttl_total_count 5',
      'kv_leases 2',
    ]);
    expect(text).toContain('etcd_debugging_lease_ttl_total_bucket{le="64"} 2\n');
  });

  it('refuses at once without a leader, when the caller asks for that', async () => {
    const alone = leaseHandlers(withoutLeaders(host()));
    const asked = create(LeaseTimeToLiveRequestSchema, { ID: 1n });
    expect(await refusal(alone.leaseTimeToLive(asked, callOf({ hasleader: 'true' })))).toBe(
      'UNAVAILABLE etcdserver: no leader',
    );
  });
});
