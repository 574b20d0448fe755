import { logOffset, memberId, utf8 } from '@kvorum/base';
import { HARD_STATE_KEY, INSTALL_KEY, META_KEY } from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeProgress, encodeProgress } from '../src/install-progress.ts';
import { parseSnapshotAnswer, parseSnapshotRequest } from '../src/snapshot-messages.ts';
import { decodeRows, encodeRows, isOwnRow } from '../src/snapshot-rows.ts';

const BYTES = fc.uint8Array({ maxLength: 40 });

describe('rows of a snapshot', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(BYTES, BYTES)), (rows) => {
        expect(decodeRows(encodeRows(rows))).toEqual(rows);
      }),
      { seed: 1 },
    );
  });

  it('are refused when they are cut off or foreign', () => {
    const whole = encodeRows([[utf8('key'), utf8('value')]]);
    for (let end = 1; end < whole.length; end += 1) {
      expect(decodeRows(whole.subarray(0, end))).toBeUndefined();
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void decodeRows(bytes)));
  });

  it('never hold the vote of the replica they come from', () => {
    expect([HARD_STATE_KEY, INSTALL_KEY, META_KEY].map(isOwnRow)).toEqual([true, true, false]);
  });
});

describe('messages about snapshots', () => {
  it('are told from anything else', () => {
    const begin = {
      kind: 'snapshot-begin',
      shardUid: new Uint8Array(16),
      generation: 0,
      start: 7,
    } as const;
    expect(parseSnapshotRequest({ ...begin, later: 'field' })).toEqual(begin);
    expect(parseSnapshotRequest({ ...begin, start: -1 })).toBeUndefined();
    expect(parseSnapshotRequest({ kind: 'snapshot-chunk', id: 'a', seq: 0.5 })).toBeUndefined();
    expect(parseSnapshotAnswer({ error: { code: 'KV_MALFORMED' } })).toBeUndefined();
    expect(parseSnapshotAnswer({ kind: 'refused', why: 'a reason to come' })).toBeUndefined();
    expect(parseSnapshotAnswer({ kind: 'expired' })).toEqual({ kind: 'expired' });
    fc.assert(
      fc.property(fc.anything(), (value) => {
        parseSnapshotRequest(value);
        parseSnapshotAnswer(value);
      }),
    );
  });
});

describe('how far an install came', () => {
  it('comes back as it was, and counts as none when damaged or of another version', () => {
    const progress = {
      source: memberId(5n),
      id: 'ab'.repeat(16),
      offset: logOffset(70_000_000_000),
      seq: 12,
      bytes: 5_000_000_000,
      rows: 77,
      done: true,
      whole: new Uint8Array(32).fill(3),
    };
    const row = encodeProgress(progress);
    expect(decodeProgress(row)).toEqual(progress);
    expect(decodeProgress(undefined)).toBeUndefined();
    expect(decodeProgress(row.subarray(1))).toBeUndefined();
    row[0] = 9;
    expect(decodeProgress(row)).toBeUndefined();
  });
});
