import type { KvRequest, LeaseId, TxnOp } from '@kvorum/base';
import { inRange, leaseId, prefixEnd, RANGE_END_OPEN, utf8 } from '@kvorum/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AuthState,
  allows,
  NO_AUTH,
  needsOf,
  needsOfWatch,
  type Permission,
  type Rights,
  rightsOf,
} from '../src/index.ts';

const NONE = new Uint8Array(0);

function rightsWith(...roles: readonly (readonly Permission[])[]): Rights {
  const state: AuthState = {
    ...NO_AUTH,
    users: new Map([['u', { name: 'u', roles: roles.map((_, i) => `r${i}`), since: 1 }]]),
    roles: new Map(roles.map((permissions, i) => [`r${i}`, { name: `r${i}`, permissions }])),
  };
  const rights = rightsOf(state, 'u');
  if (rights === undefined) throw new Error('no rights');
  return rights;
}

const read = (key: string, end?: string | Uint8Array): Permission => ({
  kind: 'read',
  key: utf8(key),
  rangeEnd: typeof end === 'string' ? utf8(end) : (end ?? NONE),
});
const write = (key: string, end?: string | Uint8Array): Permission => ({
  ...read(key, end),
  kind: 'write',
});

const may = (rights: Rights, request: KvRequest): boolean => allows(rights, needsOf(request));
const range = (key: string, end?: string | Uint8Array): KvRequest & { readonly op: 'range' } => ({
  op: 'range',
  key: utf8(key),
  ...(end === undefined ? {} : { rangeEnd: typeof end === 'string' ? utf8(end) : end }),
});
const put = (key: string, more: object = {}): KvRequest & { readonly op: 'put' } => ({
  op: 'put',
  key: utf8(key),
  value: NONE,
  ...more,
});
const txn = (...success: readonly TxnOp[]): TxnOp & { readonly op: 'txn' } => ({
  op: 'txn',
  compare: [],
  success,
  failure: [],
});

describe('ranges', () => {
  const reader = rightsWith([read('a', 'c'), read('m')], [read('c', 'e')]);

  it.each([
    ['a key of a range', range('b'), true],
    ['the end of a range is not in it', range('e'), false],
    ['a range inside', range('a', 'b'), true],
    ['a range over two permissions that touch', range('a', 'e'), true],
    ['one key more', range('a', 'e\0'), false],
    ['everything from a key on', range('a', RANGE_END_OPEN), false],
    ['a single key', range('m'), true],
    ['from a single key on (GHSA-xg4h-6gfc-h4m8)', range('m', RANGE_END_OPEN), false],
    ['a prefix of a single key', range('m', prefixEnd(utf8('m'))), false],
    ['no key at all', range('', RANGE_END_OPEN), false],
    ['an end below the key', range('b', 'a'), true],
    ['an end below a key without right', range('x', 'a'), false],
  ])('%s', (_, request, expected) => {
    expect(may(reader, request)).toBe(expected);
  });

  it('a permission from a key on holds for ever', () => {
    const open = rightsWith([read('m', RANGE_END_OPEN)]);
    expect(may(open, range('m', RANGE_END_OPEN))).toBe(true);
    expect(may(open, range('zz', RANGE_END_OPEN))).toBe(true);
    expect(may(open, range('l', RANGE_END_OPEN))).toBe(false);
  });

  it('a watch of a single key says nothing of later keys (GHSA-xg4h-6gfc-h4m8)', () => {
    expect(allows(reader, needsOfWatch({ key: utf8('m') }))).toBe(true);
    expect(allows(reader, needsOfWatch({ key: utf8('m'), rangeEnd: RANGE_END_OPEN }))).toBe(false);
    expect(allows(reader, needsOfWatch({ key: NONE, rangeEnd: RANGE_END_OPEN }))).toBe(false);
    expect(allows(reader, needsOfWatch({ key: NONE }))).toBe(false);
  });
});

describe('operations', () => {
  const reader = rightsWith([read('k')]);
  const writer = rightsWith([write('k')]);
  const both = rightsWith([read('k')], [write('k')]);

  it('reading is not writing', () => {
    expect([reader, writer, both].map((who) => may(who, range('k')))).toEqual([true, false, true]);
    expect([reader, writer, both].map((who) => may(who, put('k')))).toEqual([false, true, true]);
  });

  it('the value before is read (CVE-2026-44283)', () => {
    const withPrev = put('k', { prevKv: true });
    const remove: KvRequest = { op: 'delete-range', key: utf8('k'), prevKv: true };
    for (const request of [withPrev, remove, txn(withPrev), txn(txn(remove))]) {
      expect([reader, writer, both].map((who) => may(who, request))).toEqual([false, false, true]);
    }
  });

  it('nested operations are checked like others, in both branches (CVE-2026-33343)', () => {
    const deep = txn(txn(txn(put('secret'))));
    expect(may(both, deep)).toBe(false);
    expect(may(both, txn(txn(txn(put('k')))))).toBe(true);
    expect(may(both, { ...txn(), failure: [txn(range('secret'))] })).toBe(false);
  });

  it('a compare reads, nested ones too', () => {
    const compare = (key: string, rangeEnd?: Uint8Array): TxnOp => ({
      ...txn(),
      compare: [
        {
          key: utf8(key),
          target: 'version',
          result: 'equal',
          value: 0,
          ...(rangeEnd === undefined ? {} : { rangeEnd }),
        },
      ],
    });
    expect(may(writer, compare('k'))).toBe(false);
    expect(may(reader, compare('k'))).toBe(true);
    expect(may(reader, txn(compare('secret')))).toBe(false);
    expect(may(reader, compare('k', RANGE_END_OPEN))).toBe(false);
  });

  it('leases are named wherever they are attached (CVE-2026-44283)', () => {
    const leases = (request: KvRequest): readonly LeaseId[] => needsOf(request).leases;
    const attach = put('k', { lease: leaseId(7n) });
    expect(leases(attach)).toEqual([7n]);
    expect(leases(txn(txn(attach)))).toEqual([7n]);
    expect(leases({ ...txn(), failure: [attach] })).toEqual([7n]);
    expect(leases(put('k', { lease: leaseId(0n) }))).toEqual([]);
  });

  it('compaction is for root', () => {
    const everything = rightsWith([
      { kind: 'readwrite', key: new Uint8Array([0]), rangeEnd: RANGE_END_OPEN },
    ]);
    expect(may(everything, { op: 'compact', revision: 1 })).toBe(false);
    expect(may(everything, range('\0', RANGE_END_OPEN))).toBe(true);
    expect(may({ ...everything, isRoot: true }, { op: 'compact', revision: 1 })).toBe(true);
  });

  it('a user without roles may nothing, one that does not exist has no rights', () => {
    expect(may(rightsWith(), range('k'))).toBe(false);
    expect(rightsOf(NO_AUTH, 'nobody')).toBeUndefined();
  });
});

/** Over two letters and at most three of them: every key there can be, so that ranges can be counted out. */
const LETTERS = ['a', 'b'];
const KEYS = LETTERS.flatMap((a) => [
  a,
  ...LETTERS.flatMap((b) => [a + b, ...LETTERS.map((c) => a + b + c)]),
]).map(utf8);
/** Stands for all keys above, which only an open end reaches. */
const ABOVE = utf8('zzz');

describe('against a naive model', () => {
  const key = fc.constantFrom(...KEYS);
  const end = fc.oneof(key, fc.constantFrom(NONE, RANGE_END_OPEN, utf8('c')));
  const permission: fc.Arbitrary<Permission> = fc.record({
    kind: fc.constantFrom('read', 'write', 'readwrite'),
    key,
    rangeEnd: end,
  });
  const leaf: fc.Arbitrary<TxnOp> = fc.oneof(
    fc.record({ op: fc.constant('range' as const), key, rangeEnd: end }),
    fc.record({ op: fc.constant('put' as const), key, value: key, prevKv: fc.boolean() }),
    fc.record({
      op: fc.constant('delete-range' as const),
      key,
      rangeEnd: end,
      prevKv: fc.boolean(),
    }),
  );
  const { operation } = fc.letrec<{ operation: TxnOp }>((tie) => ({
    operation: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.record({
        op: fc.constant('txn' as const),
        compare: fc.array(
          fc.record({
            key,
            rangeEnd: end,
            target: fc.constant('version' as const),
            result: fc.constant('equal' as const),
            value: fc.constant(0),
          }),
          { maxLength: 2 },
        ),
        success: fc.array(tie('operation'), { maxLength: 2 }),
        failure: fc.array(tie('operation'), { maxLength: 2 }),
      }),
    ),
  }));

  /** Keys of the universe that a range names; etcd's sense of an empty one: its key. */
  function named(start: Uint8Array, rangeEnd: Uint8Array): readonly Uint8Array[] {
    const found = [...KEYS, ABOVE].filter((one) => inRange(one, start, rangeEnd));
    return found.length === 0 ? [start] : found;
  }

  function keyAllowed(
    permissions: readonly Permission[],
    one: Uint8Array,
    right: 'read' | 'write',
  ): boolean {
    return permissions.some(
      ({ kind, key: start, rangeEnd }) =>
        (kind === right || kind === 'readwrite') &&
        named(start, rangeEnd).some((each) => Buffer.compare(each, one) === 0),
    );
  }

  function naive(permissions: readonly Permission[], op: TxnOp): boolean {
    const all = (
      start: Uint8Array,
      rangeEnd: Uint8Array | undefined,
      right: 'read' | 'write',
    ): boolean =>
      named(start, rangeEnd ?? NONE).every((one) => keyAllowed(permissions, one, right));
    switch (op.op) {
      case 'range':
        return all(op.key, op.rangeEnd, 'read');
      case 'put':
        return all(op.key, NONE, 'write') && (op.prevKv !== true || all(op.key, NONE, 'read'));
      case 'delete-range':
        return (
          all(op.key, op.rangeEnd, 'write') &&
          (op.prevKv !== true || all(op.key, op.rangeEnd, 'read'))
        );
      case 'txn':
        return (
          op.compare.every((c) => all(c.key, c.rangeEnd, 'read')) &&
          [...op.success, ...op.failure].every((inner) => naive(permissions, inner))
        );
    }
  }

  it('never allows what the model refuses', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(permission, { maxLength: 4 }), { maxLength: 3 }),
        operation,
        (roles, op) => {
          if (may(rightsWith(...roles), op)) expect(naive(roles.flat(), op)).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('allows single keys exactly as the model, and ranges inside one permission', () => {
    fc.assert(
      fc.property(fc.array(permission, { maxLength: 5 }), key, (permissions, one) => {
        const who = rightsWith(permissions);
        const request: TxnOp = { op: 'range', key: one };
        expect(may(who, request)).toBe(naive(permissions, request));
        for (const { kind, key: start, rangeEnd } of permissions) {
          if (kind !== 'write') expect(may(who, { op: 'range', key: start, rangeEnd })).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});
