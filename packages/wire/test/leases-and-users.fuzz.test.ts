import { copyBytes, leaseId } from '@kvorum/base';
import {
  packFrame,
  parseAuthAnswer,
  parseAuthParams,
  parseLeaseGranted,
  parseLeaseGrantParams,
  parseLeaseKeptAlive,
  parseLeaseList,
  parseLeaseListParams,
  parseLeaseParams,
  parseLeaseRevoked,
  parseLeaseTimeInfo,
  parseLeaseTimeParams,
  unpackFrame,
} from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BYTES,
  COUNT,
  expectTyped,
  fuzz,
  mutationSeeds,
  SEED,
  tried,
} from '../../../test/fuzz/fuzz.ts';
import { mutatePlain } from '../../../test/fuzz/mutate.ts';

const MUTANTS = 16;

const lease = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }).map(leaseId);
const maybe = { requiredKeys: [] };
const kind = fc.constantFrom('read' as const, 'write' as const, 'readwrite' as const);

const leaseFields = fc.record({
  id: lease,
  ids: fc.array(lease, { maxLength: 3 }),
  keys: fc.oneof(fc.boolean(), fc.array(BYTES, { maxLength: 2 })),
  ttlSeconds: fc.oneof(COUNT, fc.constant(-1)),
  grantedSeconds: COUNT,
  revision: COUNT,
  timeoutMs: COUNT,
});
const LEASE_PARSERS = [
  parseLeaseGranted,
  parseLeaseGrantParams,
  parseLeaseKeptAlive,
  parseLeaseList,
  parseLeaseListParams,
  parseLeaseParams,
  parseLeaseRevoked,
  parseLeaseTimeInfo,
  parseLeaseTimeParams,
];

const ACTIONS = [
  ...(['status', 'enable', 'disable', 'logIn', 'addUser', 'deleteUser'] as const),
  ...(['changePassword', 'getUser', 'listUsers', 'grantRole', 'revokeRole'] as const),
  ...(['addRole', 'deleteRole', 'getRole', 'listRoles'] as const),
  ...(['grantPermission', 'revokePermission'] as const),
];
const authParams = fc.record({
  action: fc.constantFrom(...ACTIONS),
  user: fc.string(),
  role: fc.string(),
  password: fc.string(),
  kind,
  key: BYTES,
  rangeEnd: BYTES,
});
const authAnswer = fc.record(
  {
    enabled: fc.boolean(),
    revision: COUNT,
    token: fc.string(),
    users: fc.array(fc.string(), { maxLength: 2 }),
    roles: fc.array(fc.string(), { maxLength: 2 }),
    permissions: fc.array(fc.record({ kind, key: BYTES, rangeEnd: BYTES }), { maxLength: 2 }),
  },
  maybe,
);

/** As it comes out of a frame: an integer is a number or a bigint, as the encoder chose. */
const sent = (value: unknown): unknown => unpackFrame(copyBytes(packFrame([0, value])))?.[1];

describe('requests about leases, and their answers', () => {
  fuzz(
    'read back, also the ids that no number can hold',
    80,
    fc.property(lease, COUNT, fc.array(lease, { maxLength: 3 }), (id, n, ids) => {
      const granted = { id, ttlSeconds: n, revision: n };
      expect(parseLeaseGranted(sent(granted))).toEqual({ ok: true, value: granted });
      const params = { id, ttlSeconds: n, timeoutMs: n };
      expect(parseLeaseGrantParams(sent(params))).toEqual({ ok: true, value: params });
      expect(parseLeaseParams(sent({ id }))).toEqual({ ok: true, value: { id } });
      expect(parseLeaseTimeParams(sent({ id, keys: true }))).toMatchObject({ ok: true });
      expect(parseLeaseList(sent({ ids, revision: n }))).toEqual({
        ok: true,
        value: { ids, revision: n },
      });
    }),
  );

  it.each([[2n ** 63n], [-(2n ** 63n) - 1n], [1.5], ['5'], [null]])(
    '%s is no lease',
    (id: unknown) => {
      expect(parseLeaseParams({ id })).toMatchObject({
        ok: false,
        error: { code: 'KV_MALFORMED' },
      });
    },
  );

  fuzz(
    'of any shape are an error or a value',
    80,
    fc.property(leaseFields, SEED, (fields, seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = mutatePlain(fields, mutation);
        for (const parse of LEASE_PARSERS) expectTyped(tried(() => parse(mutant)));
      }
    }),
  );
});

describe('administration of users and roles', () => {
  fuzz(
    'reads back; of any other shape it is an error or a value',
    80,
    fc.property(authParams, authAnswer, SEED, (params, answer, seed) => {
      const asked = parseAuthParams(sent(params));
      if (!asked.ok) throw asked.error;
      expect(params).toMatchObject(asked.value);
      expect(parseAuthAnswer(sent(answer))).toEqual({ ok: true, value: answer });
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        expectTyped(tried(() => parseAuthParams(mutatePlain(params, mutation))));
        expectTyped(tried(() => parseAuthAnswer(mutatePlain(answer, mutation))));
      }
    }),
  );
});
