import { fromHex, logIndex, memberId, toHex } from '@kvorum/base';
import { changedVoterCount, decodeMembership, encodeMembership, isQuorum } from '@kvorum/raft';
import { describe, expect, it } from 'vitest';
import { HISTORY_RING_SIZE, HistoryRing } from '../src/history-ring.ts';
import { tallyVotes } from '../src/quorum.ts';

const [A, B, C, D] = [1n, 2n, 3n, 0xffff_ffff_ffff_ffffn].map(memberId) as [
  ReturnType<typeof memberId>,
  ReturnType<typeof memberId>,
  ReturnType<typeof memberId>,
  ReturnType<typeof memberId>,
];

describe('membership encoding', () => {
  it('keeps its bytes', () => {
    const membership = { voters: [A, D], learners: [B] };
    const hex = '0100020001' + '0000000000000001' + 'ffffffffffffffff' + '0000000000000002';
    expect(toHex(encodeMembership(membership))).toBe(hex);
    const bytes = fromHex(hex) ?? new Uint8Array(0);
    expect(decodeMembership(bytes)).toEqual({ ok: true, value: membership });
  });

  it('refuses what is no membership', () => {
    const error = (hex: string): unknown => decodeMembership(fromHex(hex) ?? new Uint8Array(0));
    expect(error('')).toEqual({ ok: false, error: 'membership: too short' });
    expect(error('0200010000')).toEqual({ ok: false, error: 'membership: unknown version 2' });
    expect(error('0100010000')).toEqual({ ok: false, error: 'membership: wrong length' });
    expect(error('0100000000')).toEqual({ ok: false, error: 'membership: no voter' });
    const zero = '0000000000000000';
    const one = '0000000000000001';
    expect(error(`0100010000${zero}`)).toEqual({ ok: false, error: 'membership: member id 0' });
    const twice = { ok: false, error: 'membership: a member is named twice' };
    expect(error(`0100010001${one}${one}`)).toEqual(twice);
  });

  it('counts the voters that come and go', () => {
    expect(changedVoterCount([A, B], [B, A])).toBe(0);
    expect(changedVoterCount([A, B], [A, B, C])).toBe(1);
    expect(changedVoterCount([A, B], [A])).toBe(1);
    expect(changedVoterCount([A, B], [A, C])).toBe(2);
  });
});

describe('quorum', () => {
  it('is more than half', () => {
    expect(isQuorum([A], () => true)).toBe(true);
    expect(isQuorum([A, B], (id) => id === A)).toBe(false);
    expect(isQuorum([A, B, C], (id) => id !== A)).toBe(true);
    expect(isQuorum([A, B, C, D], (id) => id === A || id === B)).toBe(false);
  });

  it('tells when a vote is decided', () => {
    expect(tallyVotes([A, B, C], new Map([[A, true]]))).toBe('open');
    expect(
      tallyVotes(
        [A, B, C],
        new Map([
          [A, true],
          [C, true],
        ]),
      ),
    ).toBe('won');
    expect(
      tallyVotes(
        [A, B, C],
        new Map([
          [B, false],
          [C, false],
        ]),
      ),
    ).toBe('lost');
    expect(
      tallyVotes(
        [A, B, C],
        new Map([
          [A, true],
          [D, true],
        ]),
      ),
    ).toBe('open');
  });
});

describe('HistoryRing', () => {
  it('compares only what it keeps', () => {
    const hash = (index: number): Uint8Array => new Uint8Array([index >> 8, index & 255]);
    const ring = new HistoryRing({ index: logIndex(0), chainHash: hash(0) });
    for (let index = 1; index <= HISTORY_RING_SIZE; index += 1) {
      ring.put({ index: logIndex(index), chainHash: hash(index) });
    }
    const other = hash(999_999);
    const contradicts = (index: number, chainHash: Uint8Array): boolean =>
      ring.contradicts({ index: logIndex(index), chainHash });
    expect(contradicts(1, hash(1))).toBe(false);
    expect(contradicts(1, other)).toBe(true);
    expect(contradicts(0, other)).toBe(false);
    expect(contradicts(HISTORY_RING_SIZE, other)).toBe(true);
    expect(contradicts(HISTORY_RING_SIZE + 1, other)).toBe(false);
  });
});
