import type { MemberInfo, MemberStatus, ReplicaInfo, ShardInfo } from '@kvorum/client';
import { expect, it } from 'vitest';
import { judge } from '../src/commands/shard-status.ts';

const member = (name: string, more: Partial<MemberInfo> = {}): MemberInfo => ({
  id: name.repeat(8),
  name,
  clientUrls: [],
  peerAddress: '',
  ...more,
});
const m1 = member('m1');
const m2 = member('m2');
const ids = (...members: readonly MemberInfo[]): readonly string[] => members.map(({ id }) => id);

const replica = (more: Partial<ReplicaInfo>): ReplicaInfo => ({
  ...{ shard: '0', role: 'follower', term: 3, index: 7, appliedIndex: 7, revision: 5 },
  ...{ compactRevision: -1, queuedCommands: 0, watchers: 0, logName: '', logReachable: true },
  ...{ storeBytes: 0, leaderChanges: 0 },
  ...more,
});
const status = (one: MemberInfo, more: Partial<ReplicaInfo>, mapVersion = 4): MemberStatus => ({
  ...{ member: one, clusterId: '', version: '', mapVersion, uptimeMs: 0, residentBytes: 0 },
  replicas: [replica(more)],
});
const shard = (...voters: readonly MemberInfo[]): ShardInfo => ({
  shard: '0',
  slots: [[0, 16_383]],
  voters: ids(...voters),
  term: 0,
  revision: 0,
});

const LEADS = { role: 'leader', voters: ids(m1, m2) };

it('says nothing when everything is where the map wants it', () => {
  const statuses = [status(m1, LEADS), status(m2, {})];
  const found = judge({ members: [m1, m2], shards: [shard(m1, m2)], moves: [], statuses });
  expect(found.pending).toEqual([]);
  // From the leader, whoever was asked for the list.
  expect(found.shards).toMatchObject([{ voting: ids(m1, m2), term: 3, revision: 5 }]);
});

it.each([
  [
    'a member that never ran',
    { members: [m1, { ...m2, started: false }] },
    'm2 has not been started yet',
  ],
  ['a member that leaves', { members: [m1, { ...m2, state: 'leaving' }] }, 'm2 leaves the cluster'],
  [
    'a map not read',
    { statuses: [status(m1, LEADS), status(m2, {}, 3)] },
    'm2 has not read the newest shard map yet',
  ],
  [
    'a halted replica',
    { statuses: [status(m1, LEADS), status(m2, { halted: 'seq-gap: 4' })] },
    'shard 0 is halted on m2: seq-gap: 4',
  ],
  [
    'an install',
    { statuses: [status(m1, LEADS), status(m2, { installing: '1 MB' })] },
    'shard 0: m2 installs 1 MB',
  ],
  ['no leader', { statuses: [status(m2, {})] }, 'shard 0 has no leader that answers'],
  [
    'a vote to get',
    { statuses: [status(m1, { ...LEADS, voters: ids(m1) })] },
    'shard 0: m2 to vote once caught up',
  ],
  ['a vote to lose', { shards: [shard(m1)] }, 'shard 0: m2 to leave'],
  [
    'slots that move',
    { moves: [{ id: 'a', from: '0', to: '1', slots: 9, phase: 'copying', attempt: 1 }] },
    '9 slots of shard 0 go to 1 (copying)',
  ],
])('tells of %s', (_what, change, line) => {
  const settled = {
    members: [m1, m2],
    shards: [shard(m1, m2)],
    moves: [],
    statuses: [status(m1, LEADS), status(m2, {})],
  };
  expect(judge({ ...settled, ...change }).pending).toEqual([line]);
});
