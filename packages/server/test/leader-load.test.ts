import { formatId, META_SHARD, shardId, toHex } from '@kvorum/base';
import { initialShardMap, leaderTargets, type ShardMap } from '@kvorum/shard';
import { VirtualClock } from '@kvorum/testkit';
import { expect, it } from 'vitest';
import { loadConfig } from '../src/config/load.ts';
import { createLogger } from '../src/logger.ts';
import { describeCluster } from '../src/member/cluster.ts';
import { startLoadBalancing } from '../src/member/leader-load.ts';

const members = ['m1', 'm2', 'm3'].map((name, i) => ({
  name,
  peer: `127.0.0.1:${i + 1}`,
  client: 'h:1',
}));
const { config } = loadConfig({
  environment: {},
  flags: {},
  preset: { logLevel: 'silent' },
  fixed: { name: 'm1', members },
});
const cluster = describeCluster(config);
const ids = cluster.members.map(({ id }) => formatId(id));
const firstMap = initialShardMap({
  clusterId: formatId(cluster.id),
  shardCount: 6,
  members: cluster.members.map(({ id, ...rest }) => ({ ...rest, id: formatId(id) })),
  rules: [],
  replicas: 3,
  uids: Array.from({ length: 6 }, (_, i) => toHex(new Uint8Array(16).fill(i + 1))),
  metaUid: toHex(new Uint8Array(16).fill(99)),
});

/** The first member, which leads the meta group or not; shards 0 and 3 are hot. Returns the maps it wrote. */
async function balance(leadsMeta: boolean): Promise<readonly ShardMap[]> {
  const clock = new VirtualClock();
  let map = firstMap;
  const written: ShardMap[] = [];
  const load = (shard: string): number => (shard === '0' || shard === '3' ? 1000 : 0);
  const led = (member: string): readonly string[] =>
    [...leaderTargets(map, new Set(ids))].filter(([, to]) => to === member).map(([shard]) => shard);
  const account = (shard: string, leader: string): object => ({
    shard,
    leader,
    leads: true,
    members: ids,
    load: load(shard),
  });
  const [self = ''] = ids;
  const stop = startLoadBalancing({
    self: cluster.self.id,
    clock,
    logger: createLogger(config),
    replicas: {
      leads: () => leadsMeta,
      all: () =>
        led(self).map((shard) => ({
          shard: shardId(shard),
          status: () => ({
            revision: 1,
            raft: { leader: cluster.self.id, voters: [], learners: [], term: 1 },
          }),
        })),
    },
    loadOf: load,
    peers: {
      isReachable: () => true,
      request: (to) => {
        const member = formatId(to);
        return Promise.resolve({
          memberships: led(member).map((shard) => account(shard, member)),
        });
      },
    },
    editor: {
      update: (change) => {
        map = change(map) ?? map;
        written.push(map);
        return Promise.resolve(map);
      },
    },
    map: () => map,
  });
  for (let look = 0; look < 12; look += 1) {
    clock.advance(10_000);
    // What a look asks of others is answered before the next one begins.
    await new Promise((resolve) => setImmediate(resolve));
  }
  stop();
  return written;
}

it('the leader of the meta group parts two hot shards of one member, once', async () => {
  const hot = [shardId('0'), shardId('3')];
  const before = leaderTargets(firstMap, new Set(ids));
  expect(before.get(shardId('0'))).toBe(before.get(shardId('3')));
  const written = await balance(true);
  expect(written).toHaveLength(1);
  const [map] = written;
  const after = leaderTargets(map ?? firstMap, new Set(ids));
  expect(new Set(hot.map((shard) => after.get(shard))).size).toBe(2);
  expect(after.get(META_SHARD)).toBe(before.get(META_SHARD));
});

it('and no other member does', async () => {
  expect(await balance(false)).toEqual([]);
});
