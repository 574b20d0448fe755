import { META_SHARD, shardId } from '@kvorum/base';
import { afterEach, describe, expect, it } from 'vitest';
import { TestCluster } from './support/test-cluster.ts';

const META = { shard: shardId(META_SHARD), generation: 0 };

describe('a meta group whose log is damaged', () => {
  let cluster = new TestCluster();
  afterEach(async () => {
    await cluster.dispose();
    cluster = new TestCluster();
  });

  const generations = (): readonly number[] =>
    cluster.members.map(({ host }) => host.metaGroup.account.generation);
  const hasLeader = (): boolean =>
    cluster.members.every(({ host }) => host.replica(META_SHARD) !== undefined) &&
    cluster.members.some(({ host }) => host.leads(META_SHARD));
  const isHalted = (name: string): boolean =>
    cluster.member(name).host.replica(META_SHARD)?.status().raft.halted !== undefined;
  const zone = (through: string, of: string, name: string): Promise<unknown> =>
    cluster
      .member(through)
      .host.admin.change({ kind: 'update', member: of, zone: name })
      .catch(() => undefined);
  const zoneOf = (at: string, of: string): string | undefined =>
    cluster
      .member(at)
      .host.map()
      .members.find(({ name }) => name === of)?.zone;

  /** The leader holds one record more than the others when the log turns out to be garbage. */
  async function halt(): Promise<string> {
    await cluster.found(['m1', 'm2', 'm3']);
    const leader = cluster.members.find(({ host }) => host.leads(META_SHARD))?.name ?? '';
    await zone(leader, 'm1', 'before');
    await cluster.until(() => ['m1', 'm2', 'm3'].every((at) => zoneOf(at, 'm1') === 'before'));
    await cluster.breakLog(META);
    await zone(leader, 'm1', 'last');
    await cluster.until(() =>
      ['m1', 'm2', 'm3'].every((name) => name === leader || isHalted(name)),
    );
    await cluster.stop(leader);
    await cluster.start(leader);
    await cluster.until(() => isHalted(leader));
    return leader;
  }

  it('goes on from its longest replica; who is away, restarted or new follows', async () => {
    const longest = await halt();
    const [away = '', asked = ''] = ['m1', 'm2', 'm3'].filter((name) => name !== longest);
    await cluster.put('dir/data shards go on');
    await cluster.stop(away);
    const { recovery } = cluster.member(asked).host;
    const seen = await recovery.recover({ shard: META_SHARD });
    expect(seen).toMatchObject({ generation: 0, choice: { member: longest }, applied: false });
    expect(seen.refused).toBeUndefined();
    expect(seen.replicas.map(({ halted }) => halted !== undefined)).toContain(true);

    const done = await recovery.recover({ shard: META_SHARD, from: longest, apply: true });
    expect(done).toMatchObject({ generation: 1, applied: true });
    await cluster.until(hasLeader);
    expect(zoneOf(longest, 'm1')).toBe('last');
    await cluster.start(away);
    await cluster.until(() => generations().join() === '1,1,1');
    await zone(away, 'm2', 'after');
    await cluster.until(() => ['m1', 'm2', 'm3'].every((at) => zoneOf(at, 'm2') === 'after'));

    const { peer, client } = await cluster.addressOf('m4');
    await cluster.member(asked).host.admin.change({ kind: 'add', member: 'm4', peer, client });
    await cluster.stop(longest);
    await cluster.start('m4', { join: true });
    await cluster.start(longest);
    await cluster.until(() => generations().join() === '1,1,1,1' && hasLeader());
    await cluster.until(() => cluster.votersOf(META_SHARD).join() === 'm1,m2,m3,m4');
    await zone('m4', 'm3', 'of four');
    await cluster.until(() => zoneOf(longest, 'm3') === 'of four');
  }, 60_000);

  it('is left alone while a majority of its voters is silent, or has a leader', async () => {
    const longest = await halt();
    const others = ['m1', 'm2', 'm3'].filter((name) => name !== longest);
    for (const name of others) await cluster.stop(name);
    const { recovery } = cluster.member(longest).host;
    const seen = await recovery.recover({ shard: META_SHARD });
    expect(seen.refused).toMatch(/^2 of the 3 voters of shard meta do not answer/);
    const apply = { shard: META_SHARD, from: longest, apply: true };
    await expect(recovery.recover(apply)).rejects.toMatchObject({ code: 'KV_INVALID_ARGUMENT' });
    expect(generations()).toEqual([0]);

    for (const name of others) await cluster.start(name);
    await recovery.recover(apply);
    await cluster.until(hasLeader);
    await expect(recovery.recover(apply)).rejects.toThrow(/there is nothing to recover/);
    await cluster.until(() => generations().join() === '1,1,1');
  }, 60_000);

  it('is left by a halted replica that heard its leader until just now', async () => {
    await cluster.found(['m1', 'm2', 'm3']);
    const leader = cluster.members.find(({ host }) => host.leads(META_SHARD))?.name ?? '';
    const [halted = ''] = ['m1', 'm2', 'm3'].filter((name) => name !== leader);
    // The leader goes on, whether it reads its own record back or not.
    await cluster.breakLog(META, leader);
    await zone(leader, 'm1', 'last');
    // It knows its leader still, unless the machine is slow: with two halted replicas a leader
    // resigns within an election timeout, and is not heard again.
    await cluster.until(() => isHalted(halted));
    const left = cluster.member(halted).host.metaGroup.serve({ step: 'leave', generation: 1 });
    await cluster.stop(leader);
    expect(await left).toMatchObject({ generation: 1 });
  }, 60_000);

  it('is recovered again when the chosen member dies before it has begun', async () => {
    const longest = await halt();
    const asked = ['m1', 'm2', 'm3'].find((name) => name !== longest) ?? '';
    // What a recovery that broke off leaves: everybody has left, nobody begins.
    for (const { host } of cluster.members) {
      await host.metaGroup.serve({ step: 'leave', generation: 1 });
    }
    const isOpen = (): boolean =>
      cluster.members.every(({ host }) => host.replica(META_SHARD) !== undefined);
    await cluster.until(isOpen);
    const { recovery } = cluster.member(asked).host;
    const done = await recovery.recover({ shard: META_SHARD, from: longest, apply: true });
    expect(done.generation).toBe(2);
    await cluster.until(hasLeader);
    expect(generations()).toEqual([2, 2, 2]);
  }, 60_000);
});
