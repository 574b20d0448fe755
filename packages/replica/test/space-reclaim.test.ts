import type { StoreRange } from '@kvorum/ports';
import { describe, expect, it } from 'vitest';
import { SpaceReclaim } from '../src/space-reclaim.ts';

const MIB = 1024 * 1024;

function storeOf(sizeMib: number) {
  const ranges: StoreRange[] = [];
  let resume: () => void = () => undefined;
  let held = false;
  return {
    ranges,
    hold: () => {
      held = true;
    },
    release: () => {
      held = false;
      resume();
    },
    reclaim: async (range: StoreRange) => {
      ranges.push(range);
      if (held) {
        await new Promise<void>((resolve) => {
          resume = resolve;
        });
      }
    },
    sizeBytes: async () => sizeMib * MIB,
  };
}

describe('giving space back', () => {
  it('waits until a quarter of the store was deleted, and for 8 MiB at least', async () => {
    const store = storeOf(40);
    const reclaim = new SpaceReclaim(store);
    reclaim.freed(9 * MIB);
    await reclaim.compacted(1000);
    expect(store.ranges).toEqual([]);
    reclaim.freed(2 * MIB);
    await reclaim.compacted(1001);
    expect(store.ranges.length).toBe(3);
    await reclaim.compacted(1002);
    expect(store.ranges.length).toBe(3);

    const small = storeOf(1);
    const rarely = new SpaceReclaim(small);
    rarely.freed(7 * MIB);
    await rarely.compacted(1000);
    expect(small.ranges).toEqual([]);
  });

  it('goes over all revisions up to the compacted one, without gaps', async () => {
    const store = storeOf(100);
    const reclaim = new SpaceReclaim(store);
    reclaim.freed(100 * MIB);
    await reclaim.compacted(12_345);
    for (const [i, { gte }] of store.ranges.entries()) {
      if (i > 0) expect(gte).toEqual(store.ranges[i - 1]?.lt);
    }
    const revision = (key: Uint8Array | undefined): number =>
      Number(new DataView((key ?? new Uint8Array(9)).slice().buffer).getBigUint64(1));
    expect(revision(store.ranges[0]?.gte)).toBe(0);
    expect(revision(store.ranges.at(-1)?.lt)).toBe(12_345);
  });

  it('makes one pass at a time', async () => {
    const store = storeOf(10);
    store.hold();
    const reclaim = new SpaceReclaim(store);
    reclaim.freed(10 * MIB);
    const first = reclaim.compacted(10);
    reclaim.freed(10 * MIB);
    await reclaim.compacted(20);
    expect(store.ranges.length).toBe(1);
    store.release();
    await first;
    await reclaim.compacted(20);
    expect(store.ranges.length).toBeGreaterThan(1);
  });
});
