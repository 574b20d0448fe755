import { formatId, shardId, toHex } from '@kvorum/base';
import { initialShardMap } from '@kvorum/shard';
import { VirtualClock } from '@kvorum/testkit';
import { expect, it } from 'vitest';
import { loadConfig } from '../src/config/load.ts';
import { createLogger } from '../src/logger.ts';
import { describeCluster } from '../src/member/cluster.ts';
import { HeldShards, type PlacedReplica, startPlacement } from '../src/member/placement.ts';

const HOLD_MS = 600_000;
const NAMES = ['m1', 'm2', 'm3'];
const members = NAMES.map((name, i) => ({ name, peer: `127.0.0.1:${i + 1}`, client: 'h:1' }));
const { config } = loadConfig({
  environment: {},
  flags: {},
  preset: { logLevel: 'silent' },
  fixed: { name: 'm2', members },
});
const cluster = describeCluster(config);
const [preferred = '', self = ''] = cluster.members.map(({ id }) => formatId(id));
const map = initialShardMap({
  clusterId: formatId(cluster.id),
  shardCount: 1,
  members: cluster.members.map(({ id, ...rest }) => ({ ...rest, id: formatId(id) })),
  rules: [],
  replicas: 3,
  uids: [toHex(new Uint8Array(16))],
  metaUid: toHex(new Uint8Array(16).fill(1)),
});

/** Of m2, which leads shard 0 though m1 should; `moved` = what it hands over. */
function placement(clock: VirtualClock, held: HeldShards): { readonly moved: string[] } {
  const moved: string[] = [];
  const peers = cluster.members.map(({ id }) => ({
    id,
    index: 9,
    reachable: true,
    logReachable: true,
  }));
  const replica: PlacedReplica = {
    status: () => ({
      raft: { peers, voters: cluster.members.map(({ id }) => id), accepted: { index: 9 } },
    }),
    transferLeadership: (to) => {
      moved.push(formatId(to));
      return Promise.resolve();
    },
  };
  const replicas = { leaders: () => ({ '0': self }), get: () => replica };
  startPlacement({
    clock,
    logger: createLogger(config),
    replicas,
    self: cluster.self.id,
    map: () => map,
    isReachable: () => true,
    isHeld: (shard) => held.has(shard),
  });
  return { moved };
}

it('hands a shard to the member that should lead it', () => {
  const clock = new VirtualClock();
  const { moved } = placement(clock, new HeldShards(clock, HOLD_MS));
  clock.advance(10_000);
  expect(moved[0]).toBe(preferred);
});

it('keeps one that was moved here by hand, until its time is over', () => {
  const clock = new VirtualClock();
  const held = new HeldShards(clock, HOLD_MS);
  expect(held.hold(shardId('0'))).toBe(HOLD_MS);
  const { moved } = placement(clock, held);
  clock.advance(HOLD_MS - 1);
  expect(moved).toEqual([]);
  clock.advance(10_000);
  expect(moved[0]).toBe(preferred);
});

it('and not one that was moved on', () => {
  const clock = new VirtualClock();
  const held = new HeldShards(clock, HOLD_MS);
  held.hold('0');
  held.release('0');
  expect(held.has('0')).toBe(false);
});
