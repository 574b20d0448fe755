import { META_SHARD, type ShardId, shardId } from '@kvorum/base';
import {
  initialShardMap,
  LeaderLoadPlanner,
  leaderTargets,
  preferLeaders,
  relievingPreferences,
  type ShardMap,
} from '@kvorum/shard';
import { describe, expect, it } from 'vitest';

const ids = [1, 2, 3].map((n) => n.toString(16).padStart(16, '0'));
const [a = '', b = '', c = ''] = ids;
const uid = (n: number): string => n.toString(16).padStart(32, '0');

function mapOf(shardCount: number): ShardMap {
  return initialShardMap({
    clusterId: '00000000000000ff',
    shardCount,
    members: ids.map((id, i) => ({ id, name: `m${i}`, peer: `h:${i}`, client: `h:1${i}` })),
    rules: [],
    replicas: 3,
    uids: Array.from({ length: shardCount }, (_, i) => uid(i + 1)),
    metaUid: uid(999),
  });
}

function inputOf(
  map: ShardMap,
  rates: readonly number[],
): Parameters<typeof relievingPreferences>[0] {
  const healthy = new Set(ids);
  const loads = new Map<ShardId, number>(rates.map((rate, i) => [shardId(String(i)), rate]));
  loads.set(META_SHARD, 0);
  return { map, healthy, loads, leaders: leaderTargets(map, healthy) };
}

/** Commands a second of each member when the changed map is followed, and how many shards it leads. */
function result(map: ShardMap, rates: readonly number[]): readonly (readonly [number, number])[] {
  const input = inputOf(map, rates);
  return ids.map((id) => {
    const led = [...input.leaders].filter(([, member]) => member === id).map(([shard]) => shard);
    return [led.reduce((sum, shard) => sum + (input.loads.get(shard) ?? 0), 0), led.length];
  });
}

/** Follows the plans until there is none; fails when that does not end. */
function settle(map: ShardMap, rates: readonly number[]): ShardMap {
  let at = map;
  for (let step = 0; step < 20; step += 1) {
    const preferences = relievingPreferences(inputOf(at, rates));
    if (preferences.length === 0) return at;
    at = preferLeaders(at, preferences);
  }
  throw new Error('it goes on for ever');
}

describe('leaders by load', () => {
  it('separates two hot shards that one member leads, and keeps the counts even', () => {
    const map = mapOf(6);
    const led = [...leaderTargets(map, new Set(ids))].filter(([, member]) => member === a);
    const hot = led.map(([shard]) => shard).filter((shard) => shard !== META_SHARD);
    const rates = map.shards
      .filter(({ id }) => id !== META_SHARD)
      .map(({ id }) => (hot.includes(id) ? 1000 : 10));
    const [[before] = [0]] = result(map, rates);
    expect(before).toBeGreaterThanOrEqual(2000);
    const after = result(settle(map, rates), rates);
    expect(Math.max(...after.map(([load]) => load))).toBeLessThan(1100);
    const counts = after.map(([, count]) => count);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  });

  it('ends for any load, never worse than it began', () => {
    let seed = 7;
    const next = (): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed;
    };
    for (let run = 0; run < 200; run += 1) {
      const shards = 1 + (next() % 12);
      const rates = Array.from({ length: shards }, () => (next() % 4 === 0 ? next() % 5000 : 5));
      const map = mapOf(shards);
      const most = (one: ShardMap): number => Math.max(...result(one, rates).map(([l]) => l));
      expect(most(settle(map, rates))).toBeLessThanOrEqual(most(map));
    }
  });

  it('leaves alone what is quiet, uneven by one shard alone, unknown, or on its way', () => {
    const map = mapOf(3);
    expect(relievingPreferences(inputOf(map, [90, 0, 0]))).toEqual([]);
    expect(relievingPreferences(inputOf(map, [5000, 0, 0]))).toEqual([]);
    const input = inputOf(mapOf(6), [1000, 0, 0, 1000, 0, 0]);
    expect(relievingPreferences(input)).not.toEqual([]);
    const loads = new Map([...input.loads].slice(1));
    expect(relievingPreferences({ ...input, loads })).toEqual([]);
    const leaders = new Map([...input.leaders, [shardId('0'), c] as const]);
    expect(relievingPreferences({ ...input, leaders })).toEqual([]);
  });

  it('moves nobody for a burst, and waits after a move until it is measured', () => {
    const planner = new LeaderLoadPlanner();
    const hot = inputOf(mapOf(6), [1000, 0, 0, 1000, 0, 0]);
    const quiet = inputOf(mapOf(6), [10, 10, 10, 10, 10, 10]);
    // Whoever leads only now has not been measured for long enough.
    expect(planner.look(0, hot)).toEqual([]);
    expect(planner.look(59_999, hot)).toEqual([]);
    const looks = [hot, hot, quiet, hot, hot, hot, hot].map(
      (input, i) => planner.look(60_000 + i * 10_000, input).length > 0,
    );
    expect(looks).toEqual([false, false, false, false, false, true, false]);
    expect(planner.look(169_999, hot)).toEqual([]);
    const settled = [170_000, 180_000, 190_000].map((at) => planner.look(at, hot).length > 0);
    expect(settled).toEqual([false, false, true]);
  });

  it('prefers only voters', () => {
    const map = mapOf(1);
    const shard = shardId('0');
    expect(preferLeaders(map, [{ shard, member: 'ffffffffffffffff' }])).toEqual(map);
    const [entry] = preferLeaders(map, [{ shard, member: b }]).shards;
    expect(entry?.voters[0]).toBe(b);
    expect([...(entry?.voters ?? [])].sort()).toEqual(ids);
  });
});
