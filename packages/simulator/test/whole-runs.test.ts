import { revisionKey } from '@kvorum/mvcc';
import { type InvariantName, type Plant, QUIET, runSeed, type Swarm } from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';

describe('whole runs', () => {
  const small = (drawn: Swarm): Swarm => {
    const { leaseHolders: _, movesMeanMs: __, voters: ___, ...swarm } = drawn;
    return {
      ...swarm,
      members: 1,
      shards: 1,
      clients: 2,
      safetyMs: 3000,
      meanMs: QUIET,
      damage: undefined,
      limits: {},
    };
  };

  async function seenWith(plant: Plant): Promise<ReadonlySet<InvariantName>> {
    const { problems } = await runSeed(1, { plant, adjust: small, crossCheck: true });
    return new Set(problems.map(({ invariant }) => invariant));
  }

  it('sees nothing without a bug', async () => {
    expect([...(await seenWith({}))]).toEqual([]);
  });

  it('liveness: an append that is never answered', async () => {
    const never = new Promise<never>(() => undefined);
    const seen = await seenWith({ log: (log) => ({ ...log, append: () => never }) });
    expect(seen).toContain('liveness');
  });

  it('no-alarm: a disk that fails though nobody broke it', async () => {
    const write = (): Promise<void> => Promise.reject(new RangeError('no such disk'));
    const seen = await seenWith({ store: (store) => ({ ...store, write }) });
    expect(seen).toContain('no-alarm');
  });

  it('linearizable and cross-check: rows that are read with another value', async () => {
    const seen = await seenWith({
      store: (store) => ({
        ...store,
        getMany: async (keys) => {
          const found = await store.getMany(keys);
          return found.map((row, i) => (keys[i]?.[0] === ROW ? withOtherValue(row) : row));
        },
      }),
    });
    expect(seen).toContain('linearizable');
    expect(seen).toContain('cross-check');
  });
});

const ROW = revisionKey(0, 0)[0];

function withOtherValue(row: Uint8Array | undefined): Uint8Array | undefined {
  const copy = row?.slice();
  if (copy !== undefined) copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}
