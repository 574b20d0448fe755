import { initialShardMap, parseShardMap, routeRequest, shardOfKey } from '@kvorum/shard';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { BYTES, fuzz, mutationSeeds, SEED, tried } from '../../../test/fuzz/fuzz.ts';
import { mutatePlain } from '../../../test/fuzz/mutate.ts';

const hexId = (n: number): string => n.toString(16).padStart(16, '0');

const map = fc
  .record({ members: fc.integer({ min: 1, max: 4 }), shards: fc.integer({ min: 1, max: 6 }) })
  .map(({ members, shards }) =>
    initialShardMap({
      clusterId: hexId(9),
      shardCount: shards,
      members: Array.from({ length: members }, (_, i) => ({
        id: hexId(i + 1),
        name: `m${i}`,
        peer: 'a:1',
        client: 'b:1',
      })),
      rules: [{ prefix: 'a/', depth: 2 }],
      replicas: members,
      uids: Array.from({ length: shards }, (_, i) => (i + 1).toString(16).padStart(32, '0')),
    }),
  );

describe('shard maps from outside', () => {
  fuzz(
    'are read as sent; of any other shape an error, or a map that places every key',
    100,
    fc.property(map, BYTES, SEED, (sent, key, seed) => {
      expect(parseShardMap(sent)).toEqual({ ok: true, value: sent });
      for (const mutation of mutationSeeds(seed, 16)) {
        const parsed = tried(() => parseShardMap(mutatePlain(sent, mutation)));
        if (!parsed.ok) {
          expect(parsed.error).toEqual(expect.any(String));
          continue;
        }
        const ids: readonly string[] = parsed.value.shards.map(({ id }) => id);
        expect(ids).toContain(shardOfKey(parsed.value, key));
        routeRequest(parsed.value, { op: 'range', key, rangeEnd: new Uint8Array([0]) });
      }
    }),
  );
});
