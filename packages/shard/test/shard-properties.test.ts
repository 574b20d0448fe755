import { inRange, prefixEnd, RANGE_END_OPEN } from '@kvorum/base';
import {
  initialShardMap,
  leadershipTransfers,
  leaderTargets,
  parseShardMap,
  type RoutingRule,
  type ShardMap,
  shardOfKey,
  shardsOfRange,
  slotOf,
} from '@kvorum/shard';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const hexId = (n: number): string => n.toString(16).padStart(16, '0');

/** Keys over few bytes, so that braces, slashes and bounds meet often. */
const key = fc
  .array(fc.constantFrom(0x00, 0x2f, 0x61, 0x62, 0x7b, 0x7d, 0xff), { maxLength: 8 })
  .map((bytes) => Uint8Array.from(bytes));
const rules = fc.uniqueArray(
  fc.record({
    prefix: fc.stringMatching(/^[/ab{}]{1,3}$/),
    depth: fc.integer({ min: 1, max: 3 }),
  }),
  { maxLength: 3, selector: ({ prefix }) => prefix },
);

function newMap(members: number, shards: number, mapRules: readonly RoutingRule[] = []): ShardMap {
  return initialShardMap({
    clusterId: hexId(9),
    shardCount: shards,
    members: Array.from({ length: members }, (_, i) => ({
      id: hexId(i + 1),
      name: `m${i}`,
      peer: '',
      client: '',
    })),
    rules: mapRules,
    replicas: 3,
    uids: Array.from({ length: shards }, (_, i) => `${hexId(1)}${hexId(i)}`),
  });
}

const spread = (counts: Iterable<number>): number => {
  const values = [...counts];
  return Math.max(...values) - Math.min(...values);
};

function countBy<T>(items: readonly T[], of: (item: T) => string | undefined): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) {
    const name = of(item);
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

describe('routing', () => {
  it('never misses a shard: every key of a range lies in one of the range’s shards', () => {
    const wide = newMap(1, 1024);
    const end = fc.oneof(
      key.map((start) => ({ start, end: prefixEnd(start) })),
      fc.tuple(key, key).map(([start, last]) => ({ start, end: last })),
      key.map((start) => ({ start, end: RANGE_END_OPEN })),
    );
    fc.assert(
      fc.property(end, rules, fc.array(key, { maxLength: 5 }), (range, withRules, suffixes) => {
        const map = { ...wide, rules: withRules };
        const shards = new Set(shardsOfRange(map, range.start, range.end));
        const keys = [...suffixes, range.start].flatMap((suffix) => [
          suffix,
          Uint8Array.of(...range.start, ...suffix),
        ]);
        for (const candidate of keys) {
          if (!inRange(candidate, range.start, range.end)) continue;
          expect(shards.has(shardOfKey(map, candidate))).toBe(true);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('gives every key a slot, and keys with one tag the same', () => {
    fc.assert(
      fc.property(key, key, fc.stringMatching(/^[a-z]{1,5}$/), (before, after, tag) => {
        const tagged = (rest: Uint8Array): Uint8Array =>
          Uint8Array.of(0x7b, ...Buffer.from(tag), 0x7d, ...rest);
        expect(slotOf(tagged(before), [])).toBe(slotOf(tagged(after), []));
        expect(slotOf(before, [])).toBeGreaterThanOrEqual(0);
        expect(slotOf(before, [])).toBeLessThan(16_384);
      }),
    );
  });

  it('a range of one key needs one shard', () => {
    const map = newMap(1, 1024);
    fc.assert(
      fc.property(key, (only) => {
        expect(shardsOfRange(map, only)).toEqual([shardOfKey(map, only)]);
        if (only.length === 0) return;
        expect(shardsOfRange(map, only, Uint8Array.of(...only, 0))).toHaveLength(1);
      }),
    );
  });
});

describe('a new map', () => {
  it('is valid, survives JSON, and spreads slots, leaders and second preferences evenly', () => {
    const sizes = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 200 }));
    fc.assert(
      fc.property(sizes, ([members, shards]) => {
        const map = newMap(members, shards);
        expect(parseShardMap(JSON.parse(JSON.stringify(map)))).toEqual({ ok: true, value: map });
        expect(spread(map.slots.map(({ from, to }) => to - from))).toBeLessThanOrEqual(1);
        for (const place of [0, 1]) {
          const counts = countBy(map.shards, ({ voters }) => voters[place]);
          if (counts.size === members) expect(spread(counts.values())).toBeLessThanOrEqual(1);
        }
        const all = new Set(map.members.map(({ id }) => id));
        const targets = [...leaderTargets(map, all)];
        expect(targets.map(([, member]) => member)).toEqual(map.shards.map((s) => s.voters[0]));
      }),
    );
  });

  it('spreads the shards of a failed member over all others', () => {
    const map = newMap(5, 40);
    const healthy = new Set(map.members.slice(1).map(({ id }) => id));
    const counts = countBy([...leaderTargets(map, healthy)], ([, member]) => member);
    expect([counts.size, spread(counts.values())]).toEqual([4, 0]);
  });
});

describe('leadership transfers', () => {
  it('reach their goal in one round from any state and then stop', () => {
    const state = fc.record({
      members: fc.integer({ min: 1, max: 5 }),
      shards: fc.integer({ min: 1, max: 30 }),
      sick: fc.array(fc.nat(4)),
      leads: fc.array(fc.nat(2), { minLength: 30, maxLength: 30 }),
    });
    fc.assert(
      fc.property(state, ({ members, shards, sick, leads }) => {
        const map = newMap(members, shards);
        const healthy = new Set(
          map.members.filter((_, i) => !sick.includes(i)).map(({ id }) => id),
        );
        const leaders = new Map(
          map.shards.map(({ id, voters }, i) => [
            id,
            voters[(leads[i] ?? 0) % voters.length] ?? '',
          ]),
        );
        for (const { shard, from, to } of leadershipTransfers({ map, leaders, healthy })) {
          expect(leaders.get(shard)).toBe(from);
          expect(healthy.has(to)).toBe(true);
          expect(map.shards.find(({ id }) => id === shard)?.voters).toContain(to);
          leaders.set(shard, to);
        }
        expect(leadershipTransfers({ map, leaders, healthy })).toEqual([]);
      }),
    );
  });
});
