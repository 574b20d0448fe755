import { logOffset, memberId } from '@kvorum/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeProgress, encodeProgress } from '../src/install-progress.ts';
import { parseSnapshotAnswer, parseSnapshotRequest } from '../src/snapshot-messages.ts';

describe('messages about snapshots', () => {
  it('are told from anything else', () => {
    const begin = {
      kind: 'snapshot-begin',
      form: 2,
      shardUid: new Uint8Array(16),
      generation: 0,
      start: 7,
    } as const;
    expect(parseSnapshotRequest({ ...begin, later: 'field' })).toEqual(begin);
    // What members of before, who took rows, asked for.
    const { form: _, ...rows } = begin;
    expect(parseSnapshotRequest(rows)).toEqual({ ...begin, form: 1 });
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
      done: true,
      whole: new Uint8Array(32).fill(3),
    };
    const row = encodeProgress(progress);
    expect(decodeProgress(row)).toEqual(progress);
    expect(decodeProgress(row.subarray(1))).toBeUndefined();
    row[0] = 9;
    expect(decodeProgress(row)).toBeUndefined();
  });
});
