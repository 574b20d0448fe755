import { utf8 } from '@kvorum/base';
import { headKey } from '@kvorum/mvcc';
import { describe, expect, it } from 'vitest';
import { cluster, outcome, put, replicaOf, write } from './support.ts';

describe('snapshotView', () => {
  it('shows one applied position with its membership, whatever is written afterwards', async () => {
    const { world, leader } = await cluster();
    const revision = await write(world, leader, put('a', '1'));
    const taken = await outcome(world, replicaOf(world, leader).snapshotView());
    if (!taken.ok) throw taken.error;
    const { meta, membership, view, generation } = taken.value;
    await write(world, leader, put('b', '2'));
    expect([meta.revision, generation]).toEqual([revision, 0]);
    expect(membership.voters).toEqual(world.members.map((member) => member.id));
    const [a, b] = await view.getMany([headKey(utf8('a')), headKey(utf8('b'))]);
    expect([a === undefined, b === undefined]).toEqual([false, true]);
    await taken.value.close();
  });

  it('is refused by a stopped replica', async () => {
    const { world, leader } = await cluster();
    const replica = replicaOf(world, leader);
    await world.stop();
    await expect(replica.snapshotView()).rejects.toMatchObject({ code: 'KV_STOPPED' });
  });
});
