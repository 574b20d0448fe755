import { logIndex, revision, term } from '@kvorum/base';
import {
  chooseReplica,
  lossesBy,
  parseRecoveryReport,
  type Recoverable,
  type RecoveryReport,
} from '@kvorum/replica';
import { describe, expect, it } from 'vitest';

/** A history as a text: one letter a record. Its chain hash is the text itself, padded. */
function replica(member: string, history: string, more: Partial<RecoveryReport> = {}): Recoverable {
  const hash = (length: number): string =>
    Buffer.from(history.slice(0, length)).toString('hex').padStart(64, '0');
  return {
    member,
    report: {
      generation: 0,
      index: logIndex(history.length),
      term: term(1),
      revision: revision(1 + history.length),
      chainHash: hash(history.length),
      stateHash: undefined,
      history: history.split('').map((_, at) => [at + 1, hash(at + 1)] as const),
      halted: undefined,
      leads: false,
      ...more,
    },
  };
}

describe('the replica to go on from', () => {
  it('is the longest that contains what a majority shares', () => {
    const found = [replica('m1', 'abcd'), replica('m2', 'abc'), replica('m3', 'abc')];
    expect(chooseReplica(found, 3)).toEqual({
      member: 'm1',
      why: '3 of 3 replicas share its first 3 records, and it holds 1 more',
    });
  });

  it('is not the longer one whose tail was rewritten', () => {
    const found = [replica('m1', 'abxyz'), replica('m2', 'abc'), replica('m3', 'abcd')];
    expect(chooseReplica(found, 3)?.member).toBe('m3');
    const [m1, m2, m3] = found;
    if (m1 === undefined || m2 === undefined || m3 === undefined) throw new Error('three');
    expect(lossesBy(m3, found)).toEqual([
      { member: 'm1', relation: 'differs', records: 3, revisions: 1 },
      { member: 'm2', relation: 'behind', records: 0, revisions: 0 },
    ]);
    expect(lossesBy(m2, [m2, m3])).toEqual([
      { member: 'm3', relation: 'ahead', records: 1, revisions: 1 },
    ]);
  });

  it('is the longest when no majority shares anything', () => {
    const found = [replica('m1', 'abc'), replica('m2', 'xy')];
    expect(chooseReplica(found, 5)).toEqual({
      member: 'm1',
      why: 'no history is shared by 3 of 5 replicas; this one is the longest',
    });
    expect(chooseReplica([], 3)).toBeUndefined();
  });

  it('is of the newest generation, and among equals not one that failed by itself', () => {
    const old = replica('m1', 'abcdef');
    const failed = replica('m2', 'ab', {
      generation: 1,
      halted: { reason: 'apply-failed', detail: 'disk' },
    });
    const sound = replica('m3', 'ab', { generation: 1 });
    expect(chooseReplica([old, failed, sound], 3)?.member).toBe('m3');
    expect(lossesBy(sound, [old, failed, sound])).toEqual([
      { member: 'm1', relation: 'older', records: 0, revisions: 4 },
      { member: 'm2', relation: 'same', records: 0, revisions: 0 },
    ]);
  });

  it('says when it cannot be told whether one history contains another', () => {
    const [long, short] = [replica('m1', 'abcd', { history: [] }), replica('m2', 'ab')];
    expect(lossesBy(short, [long, short])).toEqual([
      { member: 'm1', relation: 'unknown', records: 2, revisions: 2 },
    ]);
  });
});

it('reports travel between members; anything else is none', () => {
  const { report } = replica('m1', 'ab', { halted: { reason: 'seq-gap', detail: 'x' } });
  expect(parseRecoveryReport(structuredClone(report))).toEqual(report);
  for (const bad of [
    undefined,
    null,
    7,
    {},
    { ...report, chainHash: 'x' },
    { ...report, index: -1 },
  ]) {
    expect(parseRecoveryReport(bad)).toBeUndefined();
  }
});
