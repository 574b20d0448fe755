import { runSeed, type Swarm } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';
import * as sets from './mutants/sets.ts';

const SEEDS = [2, 9];
const TIMEOUT_MS = 120_000;

const { brokenLog, ...plain } = sets;
const all: readonly (readonly [string, (swarm: Swarm) => Swarm])[] = [
  ...Object.entries(plain),
  ['brokenLog', brokenLog('start-moved')],
];

// What fails by itself would count as the catch of any mutant.
describe('the sets that mutants run on, without a mutant', () => {
  it.each(all)(
    '%s: nothing is found',
    async (_, adjust) => {
      for (const seed of SEEDS) {
        const { problems } = await runSeed(seed, { adjust });
        expect(problems, `seed ${seed}`).toEqual([]);
      }
    },
    TIMEOUT_MS,
  );
});
