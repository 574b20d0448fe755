import { logIndex, logOffset, term } from '@kvorum/base';
import { parseRaftMessage, type RaftMessage } from '@kvorum/raft';
import { describe, expect, it } from 'vitest';

const HISTORY = { index: logIndex(3), chainHash: new Uint8Array([1, 2]) };
const MESSAGES: readonly RaftMessage[] = [
  { kind: 'vote-request', pre: true, term: term(4), transfer: false, history: HISTORY },
  { kind: 'vote-response', pre: false, term: term(4), granted: true },
  { kind: 'heartbeat', term: term(4), round: 17, history: HISTORY },
  {
    kind: 'heartbeat-response',
    term: term(4),
    round: 17,
    index: logIndex(3),
    durableOffset: logOffset(-1),
    pinOffset: logOffset(7),
    logReachable: true,
    contradicts: false,
    eager: true,
  },
  { kind: 'accepted', term: term(4), index: logIndex(3) },
  { kind: 'timeout-now', term: term(4) },
  { kind: 'read-index-request', term: term(4), requestId: 8 },
  { kind: 'read-index-response', term: term(4), requestId: 8, index: logIndex(3) },
];

describe('parseRaftMessage', () => {
  it('reads heartbeat answers of members that do not know `eager` and `pinOffset` yet', () => {
    const answer = MESSAGES.find((message) => message.kind === 'heartbeat-response');
    const { eager: _, pinOffset: __, ...older } = { ...answer, eager: undefined, pinOffset: -1 };
    const value = { ...answer, eager: false, pinOffset: undefined };
    expect(parseRaftMessage(older)).toEqual({ ok: true, value });
  });

  it('reads every kind of message and drops unknown fields', () => {
    for (const message of MESSAGES) {
      expect(parseRaftMessage({ ...message, extra: 1 })).toEqual({ ok: true, value: message });
    }
  });

  it('takes null for an absent read index, as msgpack gives it', () => {
    const message = { kind: 'read-index-response', term: 4, requestId: 8 };
    const value = { ...message, index: undefined };
    expect(parseRaftMessage({ ...message, index: null })).toEqual({ ok: true, value });
    expect(parseRaftMessage(message)).toEqual({ ok: true, value });
  });

  it('names the first wrong field', () => {
    const heartbeat = { kind: 'heartbeat', term: 4, round: 17, history: HISTORY };
    const cases: readonly [unknown, string][] = [
      [undefined, 'message: not an object'],
      ['heartbeat', 'message: not an object'],
      [{}, 'message.kind: unknown'],
      [{ kind: 'toString' }, 'message.kind: unknown'],
      [{ ...heartbeat, term: -1 }, 'message.term: not a counter'],
      [{ ...heartbeat, term: 1.5 }, 'message.term: not a counter'],
      [{ ...heartbeat, term: 2 ** 53 }, 'message.term: not a counter'],
      [{ ...heartbeat, term: 4n }, 'message.term: not a counter'],
      [{ ...heartbeat, history: null }, 'message.history: not an object'],
      [{ ...heartbeat, history: { index: 1 } }, 'message.history.chainHash: not bytes'],
      [
        { ...heartbeat, history: { index: 1, chainHash: new Uint8Array(65) } },
        'message.history.chainHash: too long',
      ],
      [{ kind: 'vote-response', pre: 1, term: 4, granted: true }, 'message.pre: not a boolean'],
    ];
    for (const [value, error] of cases) {
      expect(parseRaftMessage(value)).toEqual({ ok: false, error });
    }
  });
});
