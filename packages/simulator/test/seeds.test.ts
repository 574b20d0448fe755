import { runSeed } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';

const SEEDS = Array.from({ length: 24 }, (_, i) => i + 1);

/** Seeds that once found a bug; docs/track-record.md says which. */
const FOUND = [80, 106, 464, 465, 572, 758];

describe('simulation', () => {
  it.each([...SEEDS, ...FOUND])('seed %i', async (seed) => {
    const { problems, okCount } = await runSeed(seed);
    expect(problems, `replay: npm run sim -- --seed ${seed} --trace`).toEqual([]);
    expect(okCount).toBeGreaterThan(0);
  });

  it('leaves the same trace when a seed runs again, and another for another seed', async () => {
    const [first, again, other] = [await runSeed(7), await runSeed(7), await runSeed(8)];
    expect(again.traceDigest).toBe(first.traceDigest);
    expect(other.traceDigest).not.toBe(first.traceDigest);
  });
});
