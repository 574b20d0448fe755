import process from 'node:process';
import { runSeed, type Swarm } from '@kvorum/simulator';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

describe('a failure that nobody hears', () => {
  // The test runner listens for these as well, and would take the planted one for its own.
  const listeners = process.listeners('unhandledRejection');
  beforeEach(() => process.removeAllListeners('unhandledRejection'));
  afterEach(() => {
    for (const listener of listeners) process.on('unhandledRejection', listener);
  });

  it('failures-heard: is a finding of its seed, not the end of the campaign', async () => {
    const adjust = (swarm: Swarm): Swarm => {
      void Promise.reject(new Error('planted'));
      return { ...swarm, safetyMs: 1000, members: 1, shards: 1 };
    };
    const { problems } = await runSeed(2, { adjust });
    expect(problems.map(({ invariant }) => invariant)).toEqual(['failures-heard']);
    expect(problems[0]?.text).toMatch(/planted/);
    expect(process.listenerCount('unhandledRejection')).toBe(0);
  });
});
