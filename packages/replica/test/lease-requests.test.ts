import { isKvError, type LeaseId, leaseId } from '@kvorum/base';
import {
  type LeaseRequest,
  leaseAnswers,
  parseLeaseRequest,
  serveLeaseRequest,
} from '@kvorum/replica';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const id: fc.Arbitrary<LeaseId> = fc
  .bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n })
  .map(leaseId);
const ids = fc.array(id, { maxLength: 4 });
const count = fc.nat();
const request: fc.Arbitrary<LeaseRequest> = fc.oneof(
  fc.record({
    kind: fc.constant('grant' as const),
    id,
    ttlSeconds: fc.integer(),
  }),
  fc.record({
    kind: fc.constantFrom('revoke' as const, 'keep-alive' as const, 'keys' as const),
    id,
  }),
  fc.record({ kind: fc.constant('time-to-live' as const), id, wantsKeys: fc.boolean() }),
  fc.constant({ kind: 'list' as const }),
  fc.record({ kind: fc.constant('permit' as const), ids }),
  fc.record({ kind: fc.constant('drop' as const), ids, term: count, floor: count }),
);

/** As an encoder may have it that writes small integers as numbers. */
const asNumber = (value: unknown): unknown =>
  typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;

function reencoded(value: LeaseRequest): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      Array.isArray(field) ? field.map(asNumber) : asNumber(field),
    ]),
  );
}

describe('requests about leases between members', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(request, (one) => {
        expect(parseLeaseRequest(one)).toEqual({ ok: true, value: one });
        expect(parseLeaseRequest(reencoded(one))).toEqual({ ok: true, value: one });
      }),
      { seed: 3, numRuns: 300 },
    );
  });

  it('are refused when a field is missing or something else', () => {
    const junk = fc.constantFrom<unknown>(undefined, null, 'x', -1, 1.5, 2n ** 64n, {}, [null]);
    fc.assert(
      fc.property(request, fc.nat(), junk, (one, at, value) => {
        const names = Object.keys(one);
        const name = names[at % names.length] as string;
        const parsed = parseLeaseRequest({ ...one, [name]: value });
        // -1 is a lease, and a time to live.
        const isStillSound = value === -1 && (name === 'id' || name === 'ttlSeconds');
        expect(parsed.ok).toBe(isStillSound);
      }),
      { seed: 3, numRuns: 300 },
    );
    for (const value of [undefined, null, 7, 'list', [], { kind: 'nothing' }]) {
      expect(parseLeaseRequest(value).ok).toBe(false);
    }
  });
});

describe('answers about leases', () => {
  const readers = Object.entries(leaseAnswers);

  it('are read as they were given', async () => {
    const keys = [new Uint8Array([1, 2])];
    const leases = {
      grant: async () => ({ revision: 4, ttlSeconds: 60 }),
      revoke: async () => ({ revision: 5 }),
      keepAlive: async () => ({ revision: 5, ttlSeconds: 0 }),
      timeToLive: async () => ({ revision: 5, ttlSeconds: -1, grantedSeconds: 0, keys }),
      list: async () => ({ revision: 5, ids: [leaseId(-3n)] }),
      permit: async () => ({
        permit: { term: 3, seq: 9 },
        leases: [{ id: leaseId(7n), ttlSeconds: 5 }],
      }),
      drop: async () => false,
      keys: async () => keys,
    };
    const answer = (asked: LeaseRequest): Promise<unknown> => serveLeaseRequest(leases, asked, 0);
    const one = leaseId(7n);
    expect(leaseAnswers.time(await answer({ kind: 'grant', id: one, ttlSeconds: 1 }))).toEqual(
      await leases.grant(),
    );
    expect(leaseAnswers.revision(await answer({ kind: 'revoke', id: one }))).toEqual({
      revision: 5,
    });
    expect(leaseAnswers.time(await answer({ kind: 'keep-alive', id: one }))).toEqual(
      await leases.keepAlive(),
    );
    const time = await answer({ kind: 'time-to-live', id: one, wantsKeys: true });
    expect(leaseAnswers.timeToLive(time)).toEqual(await leases.timeToLive());
    expect(leaseAnswers.list(await answer({ kind: 'list' }))).toEqual(await leases.list());
    const permission = await answer({ kind: 'permit', ids: [one] });
    expect(leaseAnswers.permission(permission)).toEqual(await leases.permit());
    const drop = { kind: 'drop', ids: [one], term: 1, floor: 0 } as const;
    expect(leaseAnswers.isDone(await answer(drop))).toBe(false);
    expect(leaseAnswers.keys(await answer({ kind: 'keys', id: one }))).toEqual(keys);
  });

  it('leave the outcome unknown when they cannot be read', () => {
    const junk = [undefined, null, 7, [], {}, { revision: -1 }, { keys: ['a'] }, { isDone: 1 }];
    for (const [name, read] of readers) {
      for (const value of junk) {
        let thrown: unknown;
        try {
          read(value);
        } catch (error) {
          thrown = error;
        }
        expect(isKvError(thrown) && [thrown.code, thrown.outcome], name).toEqual([
          'KV_MALFORMED',
          'unknown',
        ]);
      }
    }
  });
});
