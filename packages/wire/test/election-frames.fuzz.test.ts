import { clusterId, memberId, shardId, utf8 } from '@kvorum/base';
import { decodeElectionFrame, type ElectionFrame, encodeElectionFrame } from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fuzz, mutationSeeds, SEED, tried } from '../../../test/fuzz/fuzz.ts';
import { mutateBytes } from '../../../test/fuzz/mutate.ts';
import { plainPackr } from '../src/plain-msgpack.ts';

const [SMALL, LARGE] = [memberId(1n), memberId(2n ** 64n - 1n)];
const FRAME: ElectionFrame = {
  cluster: clusterId(2n ** 63n),
  from: SMALL,
  boot: '00000000000000ab',
  leaving: false,
  addressees: [
    { member: LARGE, boot: 'ffffffffffffffff' },
    { member: SMALL, boot: undefined },
  ],
  messages: [
    { to: [SMALL, LARGE], shard: shardId('meta'), payload: { kind: 'heartbeat', term: 7 } },
    { to: [LARGE], shard: shardId(3), payload: [1n, utf8('bytes'), null] },
  ],
};

const id = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const boot = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map((b) => Buffer.from(b).toString('hex'));
const frame: fc.Arbitrary<ElectionFrame> = fc
  .record({
    ids: fc.uniqueArray(id, { minLength: 2, maxLength: 5 }),
    boots: fc.array(fc.option(boot, { nil: undefined }), { minLength: 5, maxLength: 5 }),
    boot,
    leaving: fc.boolean(),
    places: fc.array(fc.tuple(fc.nat(4), fc.nat(99), fc.nat()), { maxLength: 4 }),
  })
  .map(({ ids, boots, boot: own, leaving, places }) => {
    const members = ids.map((value) => memberId(value));
    return {
      cluster: clusterId(ids[0] ?? 1n),
      from: members[0] ?? SMALL,
      boot: own,
      leaving,
      addressees: members.map((member, i) => ({ member, boot: boots[i] })),
      messages: places.map(([place, shard, payload]) => ({
        to: [members[place % members.length] ?? SMALL],
        shard: shardId(shard),
        payload,
      })),
    };
  });

describe('election frames', () => {
  it('are read back', () => {
    expect(decodeElectionFrame(encodeElectionFrame(FRAME))).toEqual({ ok: true, value: FRAME });
  });

  it('of another version are told from damage', () => {
    expect(decodeElectionFrame(plainPackr.pack([2, 'anything']))).toEqual({
      ok: false,
      error: 'unknown-version',
    });
  });

  it.each([
    ['no array', 1],
    ['no version', []],
    ['cluster 0', [1, 0, 1n, FRAME.boot, false, [], []]],
    ['a boot id that is none', [1, 1n, 1n, 'x', false, [], []]],
    ['an addressee without boot', [1, 1n, 1n, FRAME.boot, false, [[1n]], []]],
    ['a place that nobody has', [1, 1n, 1n, FRAME.boot, false, [], [[[0], '1', 'x']]]],
    ['a shard that is none', [1, 1n, 1n, FRAME.boot, false, [], [[[], 'x', 'x']]]],
  ])('malformed: %s', (_, items) => {
    expect(decodeElectionFrame(plainPackr.pack(items))).toEqual({ ok: false, error: 'malformed' });
  });

  fuzz(
    'come back as they were, and damaged ones are an error or a value',
    80,
    fc.property(frame, frame, SEED, (one, other, seed) => {
      expect(tried(() => decodeElectionFrame(encodeElectionFrame(one)))).toEqual({
        ok: true,
        value: one,
      });
      const [bytes, donor] = [encodeElectionFrame(one), encodeElectionFrame(other)];
      for (const mutation of mutationSeeds(seed, 16)) {
        const decoded = tried(() => decodeElectionFrame(mutateBytes(bytes, donor, mutation)));
        if (decoded.ok) encodeElectionFrame(decoded.value);
        else expect(['malformed', 'unknown-version']).toContain(decoded.error);
      }
    }),
  );
});
