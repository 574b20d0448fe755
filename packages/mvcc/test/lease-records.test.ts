import { type LeaseId, leaseId, utf8 } from '@kvorum/base';
import type { LeaseCommand } from '@kvorum/mvcc';
import { describe, expect, it } from 'vitest';
import { tombstoneBytes } from '../src/batch.ts';
import { TestReplica } from './harness.ts';

const RECORD_BYTES = 16 * 1024;
const PUTS = 100;

const keyOf = (lease: LeaseId, i: number): string => `dir/${lease}/${`${i}`.padStart(8, '0')}`;

/** Leases with so many keys each. */
function attached(leases: readonly LeaseId[], keysEach: number): TestReplica {
  const replica = new TestReplica({ recordBytesMax: RECORD_BYTES });
  for (const id of leases) {
    replica.batch([{ request: { op: 'lease', action: 'grant', id, ttlSeconds: 60 } }]);
    for (let from = 0; from < keysEach; from += PUTS) {
      const count = Math.min(PUTS, keysEach - from);
      replica.batch(
        Array.from({ length: count }, (_, i) => {
          const key = utf8(keyOf(id, from + i));
          return { request: { op: 'put', key, value: utf8('v'), lease: id } };
        }),
      );
    }
  }
  return replica;
}

/** Sends a revocation until nothing is left to do; revisions that it took. No record exceeds its bound. */
function revoked(replica: TestReplica, ids: readonly LeaseId[]): number {
  const before = replica.engine.revision;
  const request: LeaseCommand = { op: 'lease', action: 'revoke', ids, stage: 'alone', term: 1 };
  for (let rounds = 0; rounds < 100; rounds += 1) {
    const [result] = replica.batch([{ request }]);
    expect(replica.lastPayload?.length ?? 0).toBeLessThanOrEqual(RECORD_BYTES);
    if (result?.ok !== true) throw result?.error ?? new TypeError('no result');
    if (result.response.op === 'txn' && result.response.succeeded) {
      return replica.engine.revision - before;
    }
  }
  throw new TypeError('it never ended');
}

function idsOf(count: number): readonly LeaseId[] {
  return Array.from({ length: count }, (_, i) => leaseId(BigInt(i + 1)));
}

describe('the end of leases in log records', () => {
  it('takes each lease with all its keys in one revision, however many there are', () => {
    const ids = idsOf(20);
    expect(revoked(attached(ids, 10), ids)).toBe(20);
  });

  it('keeps the keys of one lease together up to half a record', () => {
    const ids = idsOf(1);
    const bytes = tombstoneBytes(utf8(keyOf(leaseId(1n), 0)));
    const most = Math.floor((RECORD_BYTES - 4096) / 2 / bytes);
    expect(revoked(attached(ids, most), ids)).toBe(1);
  });

  it('takes more keys than that in several revisions', () => {
    const ids = idsOf(1);
    expect(revoked(attached(ids, 300), ids)).toBe(3);
  });
});

describe('a delete of keys that hang on leases', () => {
  it('fits a record, or is refused as too large', () => {
    const [id = leaseId(1n)] = idsOf(1);
    for (const count of [80, 125, 180]) {
      const replica = attached([id], count);
      const request = { op: 'delete-range', key: utf8('dir/'), rangeEnd: utf8('dir0') } as const;
      const [result] = replica.batch([{ request }]);
      expect(replica.lastPayload?.length ?? 0).toBeLessThanOrEqual(RECORD_BYTES);
      if (result?.ok !== true) expect(result?.error.code).toBe('KV_REQUEST_TOO_LARGE');
    }
  });
});
