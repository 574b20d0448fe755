import { rmSync } from 'node:fs';
import { isKvError, META_SHARD } from '@kvorum/base';
import { afterEach, describe, expect, it } from 'vitest';
import { TestCluster } from './support/test-cluster.ts';

const SHARDS = ['0', '1', META_SHARD];

describe('members', () => {
  let cluster = new TestCluster();
  afterEach(async () => {
    await cluster.dispose();
    cluster = new TestCluster();
  });
  const haveVoters = (...names: string[]): boolean =>
    SHARDS.every((shard) => cluster.votersOf(shard).join() === names.join());

  it('grow from three to five and shrink to two, and nothing written is lost', async () => {
    await cluster.found(['m1', 'm2', 'm3']);
    for (let i = 0; i < 20; i += 1) await cluster.put(`dir${i}/a`);
    for (const name of ['m4', 'm5']) {
      const { peer, client } = await cluster.addressOf(name);
      await cluster.member('m1').host.admin.change({ kind: 'add', member: name, peer, client });
      await cluster.start(name, { join: true });
    }
    await cluster.until(() => haveVoters('m1', 'm2', 'm3', 'm4', 'm5'));
    for (let i = 20; i < 40; i += 1) await cluster.put(`dir${i}/a`);
    for (const name of ['m1', 'm2', 'm3']) {
      const { expelled } = cluster.member(name);
      await cluster.member('m5').host.admin.change({ kind: 'remove', member: name });
      expect((await expelled).message).toMatch(/was removed from the cluster/);
      await cluster.stop(name);
    }
    await cluster.until(() => haveVoters('m4', 'm5'));
    expect(await cluster.count('dir')).toBe(40);
    expect(cluster.member('m4').host.members.map(({ name }) => name)).toEqual(['m4', 'm5']);
  }, 60_000);

  it('join although the log of the meta group no longer reaches back to its begin', async () => {
    const limits = {
      'limits.durableMs': 20,
      'limits.truncateMs': 20,
      'limits.truncateSlackRecords': 1,
      'limits.truncateSlackBytes': 1,
      'limits.truncateSlackMs': 1,
    };
    await cluster.found(['m1', 'm2', 'm3'], limits);
    const { admin } = cluster.member('m1').host;
    const startOf = (): number =>
      Math.max(
        ...cluster.members.map(
          ({ host }) => host.replica(META_SHARD)?.status().truncation.before ?? 0,
        ),
      );
    for (let i = 0; startOf() < 3; i += 1) {
      await admin.change({ kind: 'update', member: 'm2', zone: `z${i}` });
    }
    const { peer, client } = await cluster.addressOf('m4');
    await admin.change({ kind: 'add', member: 'm4', peer, client });
    await cluster.start('m4', { join: true, ...limits });
    await cluster.until(() => haveVoters('m1', 'm2', 'm3', 'm4'));
  }, 60_000);

  it('that were removed while they were down are told so when they come back', async () => {
    await cluster.found(['m1', 'm2', 'm3']);
    await cluster.stop('m3');
    await cluster.member('m1').host.admin.change({ kind: 'remove', member: 'm3' });
    await cluster.until(() => haveVoters('m1', 'm2'));
    await cluster.until(() => cluster.member('m1').host.members.length === 2);
    const back = await cluster.start('m3').then(
      (member) => member.expelled,
      (error: unknown) => error,
    );
    expect(String(back)).toMatch(/was removed from the cluster/);
  }, 30_000);

  it('with a wiped disk are refused, and come back as new ones after a replace', async () => {
    await cluster.found(['m1', 'm2', 'm3']);
    await cluster.until(() =>
      cluster.members.every(({ host }) => host.map().members.every(({ diskId }) => diskId)),
    );
    await cluster.put('dir/a');
    await cluster.stop('m3');
    rmSync(cluster.dataOf('m3'), { recursive: true });
    await expect(cluster.start('m3')).rejects.toMatchObject({
      code: 'KV_DATA_DIR',
      details: { hint: 'kvctl member replace m3' },
    });
    const { host } = cluster.member('m1');
    const before = host.members.find(({ name }) => name === 'm3')?.id;
    await host.admin.change({ kind: 'replace', member: 'm3' });
    const back = await cluster.start('m3', { join: true });
    expect(back.host.memberId).not.toBe(before);
    await cluster.until(() => haveVoters('m1', 'm2', 'm3') && host.members.length === 3);
    const own = back.host.replica('0')?.status().raft.voters.includes(back.host.self);
    expect(own).toBe(true);
    expect(await cluster.count('dir')).toBe(1);
  }, 30_000);

  it('are spread: two replicas of each shard over three, moved by hand, drained', async () => {
    await cluster.found(['m1', 'm2', 'm3'], { replicas: 2, shards: 3 });
    const counts = (): readonly number[] =>
      cluster.members.map(({ host }) => host.replicas().length - 1).sort((a, b) => a - b);
    await cluster.until(() => counts().join() === '2,2,2');
    for (let i = 0; i < 30; i += 1) await cluster.put(`dir${i}/a`);
    const { host } = cluster.member('m1');
    await host.admin.change({ kind: 'drain', member: 'm3' });
    await cluster.until(() => cluster.member('m3').host.replicas().length === 1);
    await host.admin.change({ kind: 'drain', member: 'm3', cancel: true });
    await cluster.until(() => counts().join() === '2,2,2');
    const shard = cluster.member('m3').host.replicas()[0]?.shard ?? '';
    const other = cluster.votersOf(shard).includes('m1') ? 'm2' : 'm1';
    await host.admin.move({ shard, from: 'm3', to: other });
    await cluster.until(() => cluster.votersOf(shard).join() === 'm1,m2');
    expect(await cluster.count('dir')).toBe(30);
  }, 30_000);

  it('say that no slots move while one of them is down, and live on', async () => {
    await cluster.found(['m1', 'm2', 'm3']);
    await cluster.stop('m3');
    // What it asks a member that is down must not be left to reject unheard, which ends a process.
    for (const { host } of cluster.members) expect(await host.moves()).toEqual([]);
  });

  it('are not removed where a shard would lose its live majority', async () => {
    await cluster.found(['m1', 'm2', 'm3']);
    await cluster.stop('m3');
    await cluster.until(() => {
      const { host } = cluster.member('m1');
      return (
        host
          .replica(META_SHARD)
          ?.status()
          .raft.peers.some(({ reachable }) => !reachable) === true
      );
    });
    const { admin } = cluster.member('m1').host;
    const error: unknown = await admin
      .change({ kind: 'remove', member: 'm2' })
      .catch((cause: unknown) => cause);
    expect(isKvError(error) && error.message).toMatch(
      /without m2 shard \S+ has the voters m1, m3, of which m1 answer; it needs 2/,
    );
  }, 30_000);
});
