import { isKvError, utf8 } from '@kvorum/base';
import { expect, it } from 'vitest';
import {
  type AuthChange,
  type AuthState,
  applyAuthChange,
  decodeAuthState,
  encodeAuthState,
  NO_AUTH,
} from '../src/index.ts';

const NONE = new Uint8Array(0);

function run(state: AuthState, ...changes: readonly AuthChange[]): AuthState {
  return changes.reduce(applyAuthChange, state);
}

function refusal(state: AuthState, change: AuthChange): string {
  try {
    applyAuthChange(state, change);
  } catch (error) {
    if (isKvError(error)) return error.code;
    throw error;
  }
  return 'accepted';
}

const grant = (key: string, kind: 'read' | 'write' | 'readwrite' = 'read'): AuthChange => ({
  kind: 'role-grant',
  name: 'r',
  permission: { kind, key: utf8(key), rangeEnd: NONE },
});

const SETUP: readonly AuthChange[] = [
  { kind: 'user-add', name: 'root', passwordHash: 'h' },
  { kind: 'user-grant', name: 'root', role: 'root' },
  { kind: 'role-add', name: 'r' },
  { kind: 'user-add', name: 'u', passwordHash: 'h1' },
  { kind: 'user-grant', name: 'u', role: 'r' },
];
const OFF = run(NO_AUTH, ...SETUP);
const ON = run(OFF, { kind: 'enable', tokenKey: 'ab' });

it('every change raises version and revision; enabling leaves the revision, as etcd does', () => {
  expect(OFF).toMatchObject({ version: 5, revision: 6, enabled: false });
  expect(ON).toMatchObject({ version: 6, revision: 6, enabled: true });
  expect(run(ON, { kind: 'disable' })).toMatchObject({ version: 7, revision: 7, enabled: false });
});

it.each<readonly [string, AuthState, AuthChange, string]>([
  ['enable without root', NO_AUTH, { kind: 'enable', tokenKey: '' }, 'KV_ROOT_USER_MISSING'],
  [
    'enable when root lacks its role',
    run(NO_AUTH, { kind: 'user-add', name: 'root' }),
    { kind: 'enable', tokenKey: '' },
    'KV_ROOT_ROLE_MISSING',
  ],
  ['a nameless user', ON, { kind: 'user-add', name: '' }, 'KV_USER_EMPTY'],
  ['a user twice', ON, { kind: 'user-add', name: 'u' }, 'KV_USER_EXISTS'],
  ['an endless name', ON, { kind: 'user-add', name: 'x'.repeat(257) }, 'KV_INVALID_ARGUMENT'],
  ['delete nobody', ON, { kind: 'user-delete', name: 'x' }, 'KV_USER_NOT_FOUND'],
  ['delete root while enabled', ON, { kind: 'user-delete', name: 'root' }, 'KV_AUTH_MANAGEMENT'],
  ['delete root while disabled', OFF, { kind: 'user-delete', name: 'root' }, 'accepted'],
  [
    'password of nobody',
    ON,
    { kind: 'user-password', name: 'x', passwordHash: '' },
    'KV_USER_NOT_FOUND',
  ],
  ['grant to nobody', ON, { kind: 'user-grant', name: 'x', role: 'r' }, 'KV_USER_NOT_FOUND'],
  ['grant no role', ON, { kind: 'user-grant', name: 'u', role: 'x' }, 'KV_ROLE_NOT_FOUND'],
  [
    'grant root, which needs no role',
    ON,
    { kind: 'user-grant', name: 'u', role: 'root' },
    'accepted',
  ],
  [
    'revoke what was not granted',
    ON,
    { kind: 'user-revoke', name: 'u', role: 'x' },
    'KV_ROLE_NOT_GRANTED',
  ],
  [
    'revoke root of root',
    ON,
    { kind: 'user-revoke', name: 'root', role: 'root' },
    'KV_AUTH_MANAGEMENT',
  ],
  ['a nameless role', ON, { kind: 'role-add', name: '' }, 'KV_ROLE_EMPTY'],
  ['a role twice', ON, { kind: 'role-add', name: 'r' }, 'KV_ROLE_EXISTS'],
  ['delete the role root', ON, { kind: 'role-delete', name: 'root' }, 'KV_AUTH_MANAGEMENT'],
  ['delete no role', ON, { kind: 'role-delete', name: 'x' }, 'KV_ROLE_NOT_FOUND'],
  ['permission for no key', ON, grant(''), 'KV_AUTH_MANAGEMENT'],
  [
    'permission for a range that ends before it begins',
    ON,
    {
      kind: 'role-grant',
      name: 'r',
      permission: { kind: 'read', key: utf8('b'), rangeEnd: utf8('a') },
    },
    'KV_AUTH_MANAGEMENT',
  ],
  [
    'permission of no role',
    ON,
    { kind: 'role-grant', name: 'x', permission: { kind: 'read', key: utf8('b'), rangeEnd: NONE } },
    'KV_ROLE_NOT_FOUND',
  ],
  [
    'revoke no permission',
    ON,
    { kind: 'role-revoke', name: 'r', key: utf8('a'), rangeEnd: NONE },
    'KV_PERMISSION_NOT_GRANTED',
  ],
])('%s', (_, state, change, expected) => {
  expect(refusal(state, change)).toBe(expected);
});

it('what changes nothing is the same state', () => {
  expect(run(ON, { kind: 'enable', tokenKey: 'cd' })).toBe(ON);
  expect(run(OFF, { kind: 'disable' })).toBe(OFF);
  expect(run(ON, { kind: 'user-grant', name: 'u', role: 'r' })).toBe(ON);
});

it('keeps one permission a range, in order', () => {
  const state = run(ON, grant('b'), grant('a'), grant('b', 'readwrite'));
  const kinds = state.roles.get('r')?.permissions.map(({ kind, key }) => [kind, key]);
  expect(kinds).toEqual([
    ['read', utf8('a')],
    ['readwrite', utf8('b')],
  ]);
});

it('a new password ends what was issued before, the loss of a role does not', () => {
  const since = (state: AuthState): number | undefined => state.users.get('u')?.since;
  expect(since(run(ON, { kind: 'user-password', name: 'u', passwordHash: 'h2' }))).toBe(7);
  expect(since(run(ON, { kind: 'role-delete', name: 'r' }))).toBe(4);
  expect(run(ON, { kind: 'role-delete', name: 'r' }).users.get('u')?.roles).toEqual([]);
  expect(since(run(ON, grant('a')))).toBe(4);
});

it('a user without a password never gets one by changing it', () => {
  const state = run(ON, { kind: 'user-add', name: 'cn' });
  const changed = run(state, { kind: 'user-password', name: 'cn', passwordHash: 'h' });
  expect(changed.users.get('cn')?.passwordHash).toBeUndefined();
});

it('comes back from its bytes', () => {
  const state = run(ON, grant('a\u0000ÿ'), { kind: 'user-add', name: '__proto__' });
  expect(decodeAuthState(encodeAuthState(state))).toEqual(state);
  expect(decodeAuthState(encodeAuthState(NO_AUTH))).toEqual(NO_AUTH);
});

it('damaged bytes are no state, and never an exception', () => {
  const text = new TextDecoder().decode(encodeAuthState(run(ON, grant('a'))));
  expect(decodeAuthState(utf8(text.replace('"format":1', '"format":2')))).toBeUndefined();
  for (let at = 0; at < text.length; at += 1) {
    expect(() => decodeAuthState(utf8(text.slice(0, at)))).not.toThrow();
    expect(() => decodeAuthState(utf8(`${text.slice(0, at)}0${text.slice(at + 1)}`))).not.toThrow();
  }
  expect(decodeAuthState(new Uint8Array([0xff]))).toBeUndefined();
});

it('gives a new cluster the users and roles of a backup, once, with no token of the old one', () => {
  const restored = run(NO_AUTH, { kind: 'restore', from: ON, tokenKey: 'ef' });
  expect(restored).toEqual({ ...ON, version: 7, revision: 7, tokenKey: 'ef' });
  expect(run(restored, { kind: 'restore', from: ON, tokenKey: 'cd' })).toBe(restored);
  const off = run(NO_AUTH, { kind: 'restore', from: OFF, tokenKey: 'ef' });
  expect(off).toMatchObject({ enabled: false, tokenKey: '', users: OFF.users });
  expect(run(ON, { kind: 'restore', from: NO_AUTH, tokenKey: 'ef' })).toBe(ON);
  // Its versions go on from those that its members know.
  const emptied = { ...NO_AUTH, version: 40, revision: 50 };
  const later = run(emptied, { kind: 'restore', from: ON, tokenKey: 'ef' });
  expect(later).toMatchObject({ version: 41, revision: 51 });
});

it('mixes the users of a backup with no others', () => {
  const own = run(NO_AUTH, { kind: 'user-add', name: 'somebody' });
  const restore = (): AuthState => run(own, { kind: 'restore', from: ON, tokenKey: 'ef' });
  expect(restore).toThrow('has users or roles of its own');
});
