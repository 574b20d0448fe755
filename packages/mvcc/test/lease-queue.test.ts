import { type LeaseId, leaseId } from '@kvorum/base';
import { LeaseQueue } from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const id = fc.integer({ min: 1, max: 12 }).map((n) => leaseId(BigInt(n)));
const step = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), id, at: fc.integer({ min: 0, max: 30 }) }),
  fc.record({ kind: fc.constant('remove' as const), id }),
  fc.record({
    kind: fc.constant('take' as const),
    at: fc.integer({ min: 0, max: 30 }),
    most: fc.integer({ min: 0, max: 4 }),
  }),
);

describe('the queue of leases', () => {
  it('gives out what has expired, the longest ago first, whatever is renewed or removed', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new LeaseQueue();
        const model = new Map<LeaseId, number>();
        for (const one of steps) {
          if (one.kind === 'set') {
            queue.set(one.id, 5, one.at);
            model.set(one.id, one.at);
          } else if (one.kind === 'remove') {
            queue.remove(one.id);
            model.delete(one.id);
          } else {
            const due = [...model.values()].filter((at) => at <= one.at).sort((a, b) => a - b);
            const taken = queue.takeExpired(one.at, one.most);
            expect(taken.map(({ id }) => model.get(id))).toEqual(due.slice(0, one.most));
            for (const { id } of taken) model.delete(id);
          }
          const left = queue.inOrder();
          expect(new Map(left.map((each) => [each.id, each.expiresAtMs]))).toEqual(model);
          expect(queue.size).toBe(model.size);
        }
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it('carries 100,000 leases, each renewed many times', () => {
    const queue = new LeaseQueue();
    const ids = Array.from({ length: 100_000 }, (_, i) => leaseId(BigInt(i + 1)));
    for (let round = 0; round < 2; round += 1) {
      for (const [i, each] of ids.entries()) queue.set(each, 60, ((i * 7919) % 60_000) + round);
    }
    expect(queue.size).toBe(ids.length);
    const taken = new Set<LeaseId>();
    for (let now = 0; queue.size > 0; now += 500) {
      for (const { id } of queue.takeExpired(now, 500)) taken.add(id);
    }
    expect(taken.size).toBe(ids.length);
  });
});
