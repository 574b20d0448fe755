import { equalBytes, KvError, type LeaseId, utf8 } from '@kvorum/base';
import {
  applyRowsUpTo,
  checkRestoredRow,
  decodeHead,
  decodeWriteSet,
  encodeWriteSet,
  type RowFields,
  restoredRow,
  restoreFinish,
  restoreRows,
  type WriteSet,
  writeSetEvents,
  writeSetRows,
} from '@kvorum/mvcc';
import { describe, expect, it } from 'vitest';
import { MemoryStore, TestReplica } from './harness.ts';

const fields = (key: string, modMain: number, modSub = 0): RowFields => ({
  modMain,
  modSub,
  create: modMain - 1,
  version: 2,
  lease: 7n as LeaseId,
  deleted: false,
  prevMain: modMain - 1,
  prevSub: 0,
  key: utf8(key),
  value: utf8(`${key} at ${modMain}`),
});

function decoded(payload: Uint8Array): WriteSet {
  const result = decodeWriteSet(payload);
  if (!result.ok) throw result.error;
  return result.value;
}

/** A revision row as a batch writes it. */
function rowOf(row: RowFields): Uint8Array {
  const frame = { leaderTimeMs: 1, baseRevision: row.modMain - 1, revisionCount: 1 };
  const [bytes] = writeSetRows(decoded(encodeWriteSet([{ ...row, modSub: 0 }], frame)));
  if (bytes === undefined) throw new TypeError('a batch of one row has one');
  return bytes;
}

const FRAME = { leaderTimeMs: 5, baseRevision: 1 };

describe('a restore', () => {
  const rows = [
    restoredRow(rowOf(fields('a', 9)), 0)[1],
    restoredRow(rowOf(fields('b', 9)), 1)[1],
    restoredRow(rowOf(fields('c', 12)), 0)[1],
  ];

  it('shows nothing before its end, then everything with its revisions and without history', () => {
    const replica = new TestReplica();
    const range = () =>
      replica.run(replica.engine.range({ op: 'range', key: utf8('a'), rangeEnd: utf8('z') }));
    replica.apply(restoreRows(rows.slice(0, 2), FRAME));
    replica.apply(restoreRows(rows.slice(2), FRAME));
    expect(range()).toMatchObject({ ok: true, value: { revision: 1, kvs: [], count: 0 } });
    replica.apply(restoreFinish(1000, FRAME));
    expect(range()).toMatchObject({
      ok: true,
      value: {
        revision: 1000,
        kvs: [
          { modRevision: 9, createRevision: 8, version: 2, lease: 0n, value: utf8('a at 9') },
          { modRevision: 9, createRevision: 8, version: 2, lease: 0n, value: utf8('b at 9') },
          { modRevision: 12, createRevision: 11, version: 2, lease: 0n, value: utf8('c at 12') },
        ],
      },
    });
    expect(replica.engine.compactRevision).toBe(1000);
    const key = utf8('a');
    const old = replica.run(replica.engine.range({ op: 'range', key, revision: 999 }));
    expect(old).toMatchObject({ ok: false, error: { code: 'KV_COMPACTED' } });
    replica.compactPhysically();
    expect(range()).toMatchObject({ ok: true, value: { count: 3 } });
  });

  it('tells watchers nothing, may begin in the middle of a revision, and may be repeated', () => {
    const middle = restoreRows(rows.slice(1), FRAME);
    expect([...writeSetEvents(decoded(middle))]).toEqual([]);
    const told: number[] = [];
    const replica = new TestReplica(
      {},
      {
        deliver: (_, { events }) => {
          told.push(...events.map(({ kv }) => kv.modRevision));
          return true;
        },
        cancelled: () => undefined,
        moved: () => undefined,
      },
    );
    replica.hub.add(1, { key: utf8('a'), rangeEnd: utf8('z'), prevKv: true }, 1);
    for (const payload of [restoreRows(rows.slice(0, 2), FRAME), middle, middle]) {
      replica.apply(payload);
    }
    expect(replica.engine.revision).toBe(1);
    replica.apply(restoreFinish(1000, FRAME));
    replica.batch([{ request: { op: 'put', key: utf8('b'), value: utf8('new') } }]);
    expect(told).toEqual([1001]);
  });

  it('is refused by a shard at another revision, and where its rows are out of order', () => {
    const replica = new TestReplica();
    replica.batch([{ request: { op: 'put', key: utf8('k'), value: utf8('v') } }]);
    expect(replica.engine.apply(restoreRows(rows, FRAME)).ok).toBe(false);
    for (const wrong of [[...rows].reverse(), [rows[0], rows[0]], [rows[0], rows[2], rows[1]]]) {
      const payload = restoreRows(wrong as Uint8Array[], FRAME);
      expect(decodeWriteSet(payload)).toMatchObject({ ok: false, error: { code: 'KV_CORRUPT' } });
    }
  });

  it('raises the revision by more than one record can, in several', () => {
    const far = 10_000_000_000;
    let base = 1;
    const steps: (number | undefined)[] = [];
    while (base < far) {
      const writeSet = decoded(restoreFinish(far, { ...FRAME, baseRevision: base }));
      base += writeSet.revisionCount;
      steps.push(writeSet.compactRevision);
    }
    expect(steps).toEqual([undefined, undefined, far]);
  });

  it('takes no row but the live one that its store key names', () => {
    const [storeKey, row] = restoredRow(rowOf(fields('a', 9)), 4);
    expect(equalBytes(checkRestoredRow(storeKey, row), utf8('a'))).toBe(true);
    expect(decodeHead(row)).toMatchObject({ modMain: 9, modSub: 4, lease: 0n });
    const [other] = restoredRow(rowOf(fields('a', 9)), 5);
    expect(() => checkRestoredRow(other, row)).toThrow(KvError);
    expect(() => checkRestoredRow(storeKey, row.subarray(0, 20))).toThrow(KvError);
  });
});

it('a batch is cut at a revision in its middle', () => {
  const batch = encodeWriteSet([fields('a', 5), fields('b', 5, 1), fields('c', 6)], {
    leaderTimeMs: 1,
    baseRevision: 4,
    revisionCount: 2,
  });
  const store = new MemoryStore();
  applyRowsUpTo(decoded(batch), 5, store);
  // Two heads and two revision rows.
  expect(store.keys()).toHaveLength(4);
});
