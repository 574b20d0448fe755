import { compare, connect, type KvorumClient, op } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useOneMember } from '../../server/test/support/use-member.ts';
import { AnswerCutter } from './support/answer-cutter.ts';

const member = useOneMember();
let kv: KvorumClient;
beforeAll(async () => {
  kv = await connect({ endpoints: [member.url] });
});
afterAll(async () => {
  await kv.close();
});

/** Keys of one lease in both shards. */
async function keysOfBothShards(name: string): Promise<readonly [string, string]> {
  const first = `${name}-0`;
  for (let i = 1; ; i += 1) {
    const other = `${name}-${i}`;
    if ((await kv.shardOf(other)) !== (await kv.shardOf(first))) return [first, other];
  }
}

describe('leases', () => {
  it('delete their keys in every shard when they are revoked', async () => {
    const lease = await kv.leases.grant({ ttlSeconds: 60 });
    expect(lease).toMatchObject({ ttlSeconds: 60, isAlive: true });
    const [one, other] = await keysOfBothShards('revoked');
    await kv.put(one, '1', { lease });
    await kv.put(other, '2', { lease: lease.id });
    expect((await kv.get(one))?.lease).toBe(lease.id);
    expect(await kv.leases.list()).toContain(lease.id);
    const state = await kv.leases.timeToLive(lease, { keys: true });
    expect(state).toMatchObject({ id: lease.id, ttlSeconds: 60 });
    expect(state?.keys.map((key) => Buffer.from(key).toString()).sort()).toEqual([one, other]);
    await lease.revoke();
    expect([await kv.get(one), await kv.get(other)]).toEqual([undefined, undefined]);
    expect(await kv.leases.timeToLive(lease)).toBeUndefined();
    expect(lease.signal.aborted).toBe(true);
    await lease.revoke();
    await expect(kv.leases.revoke(lease)).rejects.toMatchObject({ code: 'KV_LEASE_NOT_FOUND' });
    await expect(kv.put(one, '3', { lease })).rejects.toMatchObject({ code: 'KV_LEASE_NOT_FOUND' });
  });

  it('are part of transactions and comparisons', async () => {
    const lease = await kv.leases.grant({ ttlSeconds: 60, id: 2n ** 62n + 3n });
    expect(lease.id).toBe(2n ** 62n + 3n);
    await kv.txn({ success: [op.put('txn', '1', { lease })] });
    const swap = { compare: [compare('txn', 'lease', '=', lease)], success: [op.delete('txn')] };
    expect(await kv.txn(swap)).toMatchObject({ succeeded: true });
    await expect(kv.leases.grant({ ttlSeconds: 60, id: lease.id })).rejects.toMatchObject({
      code: 'KV_LEASE_EXISTS',
      outcome: 'not-applied',
    });
    await lease.revoke();
  });

  it('of somebody else can be taken on, looked at and ended', async () => {
    const given = await kv.leases.grant({ ttlSeconds: 60, keepAlive: false });
    const own = await kv.leases.open(given.id);
    expect(own.ttlSeconds).toBe(60);
    expect(await kv.leases.keepAliveOnce(given.id)).toBe(60);
    await kv.leases.revoke(given.id);
    await expect(kv.leases.open(given.id)).rejects.toMatchObject({ code: 'KV_LEASE_NOT_FOUND' });
    await expect(own.keepAlive()).rejects.toMatchObject({ code: 'KV_LEASE_LOST' });
    expect(await own.lost).toMatchObject({ code: 'KV_LEASE_LOST' });
  });

  it('end with the client that kept them alive', async () => {
    const other = await connect({ endpoints: [member.url] });
    const lease = await other.leases.grant({ ttlSeconds: 60 });
    await other.close();
    expect(await lease.lost).toMatchObject({ code: 'KV_CANCELLED' });
    await expect(other.leases.grant({ ttlSeconds: 60 })).rejects.toMatchObject({
      code: 'KV_CANCELLED',
      outcome: 'not-applied',
    });
    await kv.leases.revoke(lease);
  });

  it.each<[string, RegExp, () => Promise<unknown>]>([
    ['no time', /ttlSeconds must be/, () => kv.leases.grant({ ttlSeconds: 0 })],
    ['half a second', /ttlSeconds must be/, () => kv.leases.grant({ ttlSeconds: 2.5 })],
    ['the id of no lease', /id 0/, () => kv.leases.grant({ ttlSeconds: 5, id: 0n })],
    ['an id of 65 bits', /64 bits/, () => kv.leases.revoke(2n ** 64n)],
    ['a put with one', /64 bits/, () => kv.put('k', 'v', { lease: 2n ** 64n })],
    ['an unknown option', /unknown option ttl /, () => kv.leases.grant({ ttl: 5 } as never)],
  ])('with %s are refused before anything is sent', async (_, message, call) => {
    await expect(call()).rejects.toMatchObject({
      code: 'KV_INVALID_ARGUMENT',
      message: expect.stringMatching(message) as unknown,
    });
  });

  it('beyond every limit are refused by the cluster', async () => {
    await expect(kv.leases.grant({ ttlSeconds: 10 ** 10 })).rejects.toMatchObject({
      code: 'KV_LEASE_TTL_TOO_LARGE',
    });
  });
});

describe('when an answer is lost', () => {
  let cutter: AnswerCutter;
  let unlucky: KvorumClient;
  beforeAll(async () => {
    cutter = await AnswerCutter.start(member.url);
    unlucky = await connect({ endpoints: [cutter.url], discover: false });
  });
  afterAll(async () => {
    await unlucky.close();
    await cutter.stop();
  });

  it('a grant finds its lease, and makes no second one', async () => {
    const before = await kv.leases.list();
    cutter.cutNext('leaseGrant');
    const lease = await unlucky.leases.grant({ ttlSeconds: 60 });
    expect(cutter.cuts).toBe(1);
    const after = await kv.leases.list();
    expect(after.filter((id) => !before.includes(id))).toEqual([lease.id]);
    cutter.cutNext('leaseRevoke');
    await lease.revoke();
    expect(cutter.cuts).toBe(2);
    expect(await kv.leases.list()).not.toContain(lease.id);
  });

  it('a grant with an id of the caller’s is in doubt', async () => {
    cutter.cutNext('leaseGrant');
    await expect(unlucky.leases.grant({ ttlSeconds: 60, id: 77n })).rejects.toMatchObject({
      code: 'KV_TIMEOUT',
      outcome: 'unknown',
    });
    expect(await kv.leases.keepAliveOnce(77n)).toBe(60);
    await kv.leases.revoke(77n);
  });

  it('other changes of the cluster are in doubt, and questions about it are not', async () => {
    cutter.cutNext('reshard');
    await expect(unlucky.reshard({ action: 'abort' })).rejects.toMatchObject({
      code: 'KV_TIMEOUT',
      outcome: 'unknown',
    });
    await unlucky.ready();
    cutter.cutNext('members');
    await expect(unlucky.members()).rejects.toMatchObject({ outcome: 'not-applied' });
  });
});
