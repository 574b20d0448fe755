import { memberId, term } from '@kvorum/base';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { COUNT, fuzz, mutationSeeds, SEED, triedThrowing } from '../../../test/fuzz/fuzz.ts';
import { mutateBytes } from '../../../test/fuzz/mutate.ts';
import { decodeHardState, encodeHardState } from '../src/hard-state-codec.ts';
import { decodeRevisionTimes, encodeRevisionTimes } from '../src/revision-times.ts';
import { decodeShardTime, encodeShardTime } from '../src/shard-time.ts';

const MUTANTS = 16;
const vote = fc.option(fc.bigInt({ min: 1n, max: (1n << 64n) - 1n }).map(memberId), {
  nil: undefined,
});

describe('rows of a replica', () => {
  fuzz(
    'hard state and shard time: read back as written, damaged ones are KV_CORRUPT or a value',
    200,
    fc.property(COUNT.map(term), vote, COUNT, SEED, (number, votedFor, ms, seed) => {
      const state = { term: number, vote: votedFor };
      expect(decodeHardState(encodeHardState(state))).toEqual(state);
      expect(decodeShardTime(encodeShardTime(ms))).toBe(ms);
      const [hard, time] = [encodeHardState(state), encodeShardTime(ms)];
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const found = triedThrowing(() => decodeHardState(mutateBytes(hard, time, mutation)));
        if (found !== undefined) encodeHardState(found);
        const timeFound = triedThrowing(() => decodeShardTime(mutateBytes(time, hard, mutation)));
        if (timeFound !== undefined) expect(Number.isSafeInteger(timeFound)).toBe(true);
      }
    }),
  );

  fuzz(
    'revision times: read back as written, a damaged row is KV_CORRUPT or samples in order',
    200,
    fc.property(fc.array(fc.nat({ max: 1e9 }), { maxLength: 24 }), SEED, (steps, seed) => {
      let timeMs = 0;
      const samples = steps.map((step, i) => {
        timeMs += step;
        return { timeMs, revision: i + 2 };
      });
      const row = encodeRevisionTimes(samples);
      expect(decodeRevisionTimes(row)).toEqual(samples);
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const found = triedThrowing(() => decodeRevisionTimes(mutateBytes(row, row, mutation)));
        if (found !== undefined)
          expect(decodeRevisionTimes(encodeRevisionTimes(found))).toEqual(found);
      }
    }),
  );
});
