import { logIndex, logOffset, memberId, term } from '@kvorum/base';
import {
  decodeMembership,
  encodeMembership,
  parseRaftMessage,
  type RaftMessage,
} from '@kvorum/raft';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { COUNT, fuzz, mutationSeeds, SEED, tried } from '../../../test/fuzz/fuzz.ts';
import { mutateBytes, mutatePlain } from '../../../test/fuzz/mutate.ts';

const MUTANTS = 16;

const terms = COUNT.map(term);
const indexes = COUNT.map(logIndex);
const history = fc.record({
  index: indexes,
  chainHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
});
const message: fc.Arbitrary<RaftMessage> = fc.oneof(
  fc.record({
    kind: fc.constant('vote-request' as const),
    pre: fc.boolean(),
    term: terms,
    transfer: fc.boolean(),
    history,
  }),
  fc.record({
    kind: fc.constant('vote-response' as const),
    pre: fc.boolean(),
    term: terms,
    granted: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('heartbeat' as const), term: terms, round: COUNT, history }),
  fc.record({
    kind: fc.constant('heartbeat-response' as const),
    term: terms,
    round: COUNT,
    index: indexes,
    durableOffset: fc.oneof(fc.constant(-1), COUNT).map(logOffset),
    pinOffset: fc.option(COUNT.map(logOffset), { nil: undefined }),
    logReachable: fc.boolean(),
    contradicts: fc.boolean(),
    eager: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('accepted' as const), term: terms, index: indexes }),
  fc.record({ kind: fc.constant('timeout-now' as const), term: terms }),
  fc.record({ kind: fc.constant('read-index-request' as const), term: terms, requestId: COUNT }),
  fc.record({
    kind: fc.constant('read-index-response' as const),
    term: terms,
    requestId: COUNT,
    index: fc.option(indexes, { nil: undefined }),
  }),
);

const ids = fc.uniqueArray(fc.bigInt({ min: 1n, max: (1n << 64n) - 1n }).map(memberId), {
  minLength: 1,
  maxLength: 7,
});
const membership = fc.tuple(ids, fc.nat(6)).map(([all, learners]) => ({
  voters: all.slice(0, Math.max(1, all.length - learners)),
  learners: all.slice(Math.max(1, all.length - learners)),
}));

describe('what peers and config records say', () => {
  fuzz(
    'messages: read back as sent, of any other shape an error or a message',
    100,
    fc.property(message, SEED, (sent, seed) => {
      expect(parseRaftMessage(sent)).toEqual({ ok: true, value: sent });
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const parsed = tried(() => parseRaftMessage(mutatePlain(sent, mutation)));
        if (parsed.ok) expect(parseRaftMessage(parsed.value)).toEqual(parsed);
        else expect(parsed.error).toEqual(expect.any(String));
      }
    }),
  );

  fuzz(
    'memberships: read back as written, damaged ones are an error or a membership',
    100,
    fc.property(membership, membership, SEED, (one, other, seed) => {
      const bytes = encodeMembership(one);
      expect(decodeMembership(bytes)).toEqual({ ok: true, value: one });
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = mutateBytes(bytes, encodeMembership(other), mutation);
        const decoded = tried(() => decodeMembership(mutant));
        if (decoded.ok) expect(encodeMembership(decoded.value)).toEqual(mutant);
        else expect(decoded.error).toEqual(expect.any(String));
      }
    }),
  );
});
