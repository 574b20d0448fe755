import { runSeed } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';

/** `npm test` runs those behind them too, faster, in processes of their own. */
const SEEDS = 40;
const PER_TEST = 10;
const TIMEOUT_MS = 180_000;

const ranges = Array.from({ length: SEEDS / PER_TEST }, (_, i) => 1 + i * PER_TEST);

describe('simulation', () => {
  it.each(ranges)(
    `seeds from %i on, ${PER_TEST} of them`,
    async (from) => {
      let okCount = 0;
      for (let seed = from; seed < from + PER_TEST; seed += 1) {
        const result = await runSeed(seed, { crossCheck: true });
        const found = result.problems.map(({ invariant, text }) => `[${invariant}] ${text}`);
        expect(found, `replay: npm run sim -- --seed ${seed} --trace`).toEqual([]);
        okCount += result.okCount;
      }
      expect(okCount).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  it('leaves the same trace when a seed runs again, and another for another seed', async () => {
    const [first, again, other] = [await runSeed(7), await runSeed(7), await runSeed(8)];
    expect(again.traceDigest).toBe(first.traceDigest);
    expect(other.traceDigest).not.toBe(first.traceDigest);
  });
});
