import { leaderId, logIndex, logOffset, term, utf8 } from '@kvorum/base';
import {
  type AcceptedState,
  emptyAcceptedState,
  type FilterContext,
  judge,
  type ReadRecord,
  ZERO_HASH,
} from '@kvorum/raft';
import { describe, expect, it } from 'vitest';
import { SHARD_UID, toyChain } from './cluster.ts';

const CONTEXT: FilterContext = { shardUid: SHARD_UID, generation: 0, chain: toyChain };
const LEADER = leaderId(`${'0'.repeat(15)}1${'0'.repeat(15)}1`);
const OTHER = leaderId(`${'0'.repeat(15)}2${'0'.repeat(15)}1`);
const HASH = new Uint8Array([1, 2, 3, 4]);

const STATE: AcceptedState = {
  generation: 0,
  offset: logOffset(20),
  index: logIndex(9),
  term: term(5),
  leaderId: LEADER,
  seq: 3,
  chainHash: HASH,
  lastOffset: logOffset(18),
  lastDigest: utf8('last'),
};

const NEXT: ReadRecord = {
  offset: logOffset(21),
  digest: utf8('digest'),
  shardUid: SHARD_UID,
  generation: 0,
  term: term(5),
  leaderId: LEADER,
  seq: 4,
  prevHash: HASH,
  kind: 'batch',
  payload: utf8('payload'),
};

const ACCEPTED: AcceptedState = {
  ...STATE,
  offset: logOffset(21),
  index: logIndex(10),
  seq: 4,
  chainHash: toyChain(HASH, NEXT.digest),
  lastOffset: logOffset(21),
  lastDigest: NEXT.digest,
};

function verdict(record: Partial<ReadRecord>, state: AcceptedState = STATE): string {
  const judgement = judge(state, { ...NEXT, ...record }, CONTEXT);
  if (judgement.kind === 'ignore') {
    expect(judgement.state).toEqual({ ...state, offset: NEXT.offset });
    return `ignore ${judgement.reason}`;
  }
  return judgement.kind === 'halt' ? `halt ${judgement.report.reason}` : 'accept';
}

describe('judge', () => {
  it('accepts the next record of the current leader and chains it', () => {
    expect(judge(STATE, NEXT, CONTEXT)).toEqual({ kind: 'accept', state: ACCEPTED });
    const config = { ...NEXT, kind: 'config' } as const;
    expect(judge(STATE, config, CONTEXT)).toEqual({ kind: 'accept', state: ACCEPTED });
  });

  it('accepts a barrier of a higher term, whatever its prevHash, and starts at seq 0', () => {
    const barrier = { ...NEXT, kind: 'barrier', seq: 0, prevHash: ZERO_HASH } as const;
    const next = { ...barrier, term: term(6), leaderId: OTHER } as const;
    const state = { ...ACCEPTED, term: term(6), leaderId: OTHER, seq: 0 };
    expect(judge(STATE, next, CONTEXT)).toEqual({ kind: 'accept', state });
  });

  it('ignores every other barrier', () => {
    expect(verdict({ kind: 'barrier', term: term(5), leaderId: OTHER })).toBe(
      'ignore stale-barrier',
    );
    expect(verdict({ kind: 'barrier', term: term(4), leaderId: OTHER })).toBe(
      'ignore stale-barrier',
    );
    expect(verdict({ kind: 'barrier', term: term(5) })).toBe('ignore duplicate');
  });

  it('ignores records of other terms and leaders and repeated ones', () => {
    expect(verdict({ term: term(4) })).toBe('ignore old-term');
    expect(verdict({ leaderId: OTHER })).toBe('ignore other-leader');
    expect(verdict({ seq: 3 })).toBe('ignore duplicate');
    expect(verdict({ seq: 1, prevHash: ZERO_HASH })).toBe('ignore duplicate');
  });

  it('halts on a record whose barrier is missing: its leader has seen it accepted', () => {
    expect(verdict({ term: term(6) })).toBe('halt barrier-missing');
    expect(verdict({ term: term(6), leaderId: OTHER, seq: 1 })).toBe('halt barrier-missing');
    expect(verdict({}, emptyAcceptedState())).toBe('halt barrier-missing');
    expect(verdict({ term: term(0), seq: 1 }, emptyAcceptedState())).toBe('halt barrier-missing');
  });

  it('halts where records vanished or the history differs', () => {
    expect(verdict({ seq: 5 })).toBe('halt seq-gap');
    expect(verdict({ prevHash: ZERO_HASH })).toBe('halt chain-mismatch');
  });

  it('halts on records of another shard or generation, whatever else they say', () => {
    expect(verdict({ shardUid: utf8('other'), term: term(1) })).toBe('halt wrong-shard');
    expect(verdict({ generation: 1, term: term(1) })).toBe('halt wrong-generation');
  });

  it('halts on records it cannot read', () => {
    const { offset } = NEXT;
    const judgement = judge(STATE, { offset, unreadable: 'unknown-version' }, CONTEXT);
    expect(judgement).toMatchObject({
      kind: 'halt',
      report: { reason: 'unreadable-record', offset, index: 9, found: 'unknown-version' },
    });
  });
});
