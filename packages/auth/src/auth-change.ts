import { compareBytes, equalBytes, isOpenEnd, KvError } from '@kvorum/base';
import { encodeAuthState } from './auth-codec.ts';
import {
  type AuthState,
  comparePermissions,
  NO_AUTH,
  type Permission,
  ROOT,
  type Role,
  type User,
} from './auth-state.ts';

/** Longest name of a user or role, UTF-16 units: they stand in every record's metadata and in every token. */
export const NAME_LENGTH_MAX = 256;

/** One step of administration. Passwords come as their hashes only. */
export type AuthChange =
  /** `tokenKey`: fresh random bytes, hex. */
  | { readonly kind: 'enable'; readonly tokenKey: string }
  | { readonly kind: 'disable' }
  /** Of a backup; `tokenKey` as in `enable`. */
  | { readonly kind: 'restore'; readonly from: AuthState; readonly tokenKey: string }
  | { readonly kind: 'user-add'; readonly name: string; readonly passwordHash?: string }
  | { readonly kind: 'user-delete'; readonly name: string }
  | { readonly kind: 'user-password'; readonly name: string; readonly passwordHash: string }
  | { readonly kind: 'user-grant'; readonly name: string; readonly role: string }
  | { readonly kind: 'user-revoke'; readonly name: string; readonly role: string }
  | { readonly kind: 'role-add'; readonly name: string }
  | { readonly kind: 'role-delete'; readonly name: string }
  | { readonly kind: 'role-grant'; readonly name: string; readonly permission: Permission }
  | {
      readonly kind: 'role-revoke';
      readonly name: string;
      readonly key: Uint8Array;
      readonly rangeEnd: Uint8Array;
    };

/**
 * The state after a change; the same object when it changes nothing. As etcd's auth store, answer by answer.
 *
 * Errors: KV_AUTH_MANAGEMENT, KV_USER_EMPTY, KV_USER_EXISTS, KV_USER_NOT_FOUND, KV_ROLE_EMPTY, KV_ROLE_EXISTS, KV_ROLE_NOT_FOUND,
 * KV_ROLE_NOT_GRANTED, KV_PERMISSION_NOT_GRANTED, KV_ROOT_USER_MISSING, KV_ROOT_ROLE_MISSING, KV_INVALID_ARGUMENT, KV_BACKUP.
 */
export function applyAuthChange(state: AuthState, change: AuthChange): AuthState {
  switch (change.kind) {
    case 'enable':
      return enable(state, change.tokenKey);
    case 'disable':
      return state.enabled ? { ...next(state), enabled: false, tokenKey: '' } : state;
    case 'restore':
      return restore(state, change.from, change.tokenKey);
    case 'user-add':
      return addUser(state, change.name, change.passwordHash);
    case 'user-delete':
      return deleteUser(state, change.name);
    case 'user-password':
      return changePassword(state, change.name, change.passwordHash);
    case 'user-grant':
      return grantRole(state, change.name, change.role);
    case 'user-revoke':
      return revokeRole(state, change.name, change.role);
    case 'role-add':
      return addRole(state, change.name);
    case 'role-delete':
      return deleteRole(state, change.name);
    case 'role-grant':
      return grantPermission(state, change.name, change.permission);
    case 'role-revoke':
      return revokePermission(state, change.name, change);
  }
}

const next = (state: AuthState): AuthState => ({
  ...state,
  version: state.version + 1,
  revision: state.revision + 1,
});

function userOf(state: AuthState, name: string): User {
  const user = state.users.get(name);
  if (user === undefined) throw new KvError('KV_USER_NOT_FOUND');
  return user;
}

function roleOf(state: AuthState, name: string): Role {
  const role = state.roles.get(name);
  if (role === undefined) throw new KvError('KV_ROLE_NOT_FOUND');
  return role;
}

function withUser(state: AuthState, user: User): AuthState {
  return { ...next(state), users: new Map(state.users).set(user.name, user) };
}

function withRole(state: AuthState, role: Role): AuthState {
  return { ...next(state), roles: new Map(state.roles).set(role.name, role) };
}

function checkName(name: string): void {
  if (name.length > NAME_LENGTH_MAX) {
    const details = { limit: NAME_LENGTH_MAX, actual: name.length };
    throw new KvError('KV_INVALID_ARGUMENT', 'the name is too long', { details });
  }
}

function enable(state: AuthState, tokenKey: string): AuthState {
  if (state.enabled) return state;
  const root = state.users.get(ROOT);
  if (root === undefined) throw new KvError('KV_ROOT_USER_MISSING');
  if (!root.roles.includes(ROOT)) throw new KvError('KV_ROOT_ROLE_MISSING');
  return { ...state, version: state.version + 1, enabled: true, tokenKey };
}

const isUnused = ({ enabled, users, roles }: AuthState): boolean =>
  !enabled && users.size === 0 && roles.size === 0;

/** What a restore keeps: the rest says which tokens count, and none of the old cluster's does. */
const kept = ({ enabled, users, roles }: AuthState): Uint8Array =>
  encodeAuthState({ ...NO_AUTH, enabled, users, roles });

/** Users, roles and the switch as another cluster had them. Done again it changes nothing. */
function restore(state: AuthState, from: AuthState, tokenKey: string): AuthState {
  if (isUnused(from) || equalBytes(kept(state), kept(from))) return state;
  if (!isUnused(state)) {
    throw new KvError('KV_BACKUP', 'the new cluster has users or roles of its own', {
      details: { hint: 'keep those with --without-auth, or delete them all and disable it before' },
    });
  }
  const { enabled, users, roles } = from;
  const version = Math.max(state.version, from.version) + 1;
  const revision = Math.max(state.revision, from.revision) + 1;
  return { version, revision, enabled, tokenKey: enabled ? tokenKey : '', users, roles };
}

function addUser(state: AuthState, name: string, passwordHash: string | undefined): AuthState {
  if (name === '') throw new KvError('KV_USER_EMPTY');
  checkName(name);
  if (state.users.has(name)) throw new KvError('KV_USER_EXISTS');
  const user = { name, roles: [], since: state.version + 1 };
  return withUser(state, passwordHash === undefined ? user : { ...user, passwordHash });
}

function deleteUser(state: AuthState, name: string): AuthState {
  if (state.enabled && name === ROOT) throw new KvError('KV_AUTH_MANAGEMENT');
  userOf(state, name);
  const users = new Map(state.users);
  users.delete(name);
  return { ...next(state), users };
}

function changePassword(state: AuthState, name: string, passwordHash: string): AuthState {
  const user = userOf(state, name);
  // One that was made without a password stays so.
  if (user.passwordHash === undefined) return withUser(state, user);
  return withUser(state, { ...user, passwordHash, since: state.version + 1 });
}

function grantRole(state: AuthState, name: string, role: string): AuthState {
  const user = userOf(state, name);
  if (role !== ROOT) roleOf(state, role);
  if (user.roles.includes(role)) return state;
  return withUser(state, { ...user, roles: [...user.roles, role].sort() });
}

function revokeRole(state: AuthState, name: string, role: string): AuthState {
  if (state.enabled && name === ROOT && role === ROOT) throw new KvError('KV_AUTH_MANAGEMENT');
  const user = userOf(state, name);
  if (!user.roles.includes(role)) throw new KvError('KV_ROLE_NOT_GRANTED');
  return withUser(state, { ...user, roles: user.roles.filter((one) => one !== role) });
}

function addRole(state: AuthState, name: string): AuthState {
  if (name === '') throw new KvError('KV_ROLE_EMPTY');
  checkName(name);
  if (state.roles.has(name)) throw new KvError('KV_ROLE_EXISTS');
  return withRole(state, { name, permissions: [] });
}

function deleteRole(state: AuthState, name: string): AuthState {
  if (state.enabled && name === ROOT) throw new KvError('KV_AUTH_MANAGEMENT');
  roleOf(state, name);
  const roles = new Map(state.roles);
  roles.delete(name);
  const users = new Map(
    [...state.users].map(([key, user]) => {
      if (!user.roles.includes(name)) return [key, user] as const;
      return [key, { ...user, roles: user.roles.filter((one) => one !== name) }] as const;
    }),
  );
  return { ...next(state), roles, users };
}

function grantPermission(state: AuthState, name: string, permission: Permission): AuthState {
  const { key, rangeEnd } = permission;
  const isRange = rangeEnd.length === 0 || isOpenEnd(rangeEnd) || compareBytes(key, rangeEnd) < 0;
  if (key.length === 0 || !isRange) throw new KvError('KV_AUTH_MANAGEMENT');
  const role = roleOf(state, name);
  const others = role.permissions.filter((one) => comparePermissions(one, permission) !== 0);
  return withRole(state, { name, permissions: [...others, permission].sort(comparePermissions) });
}

function revokePermission(
  state: AuthState,
  name: string,
  range: Pick<Permission, 'key' | 'rangeEnd'>,
): AuthState {
  const role = roleOf(state, name);
  const left = role.permissions.filter((one) => comparePermissions(one, range) !== 0);
  if (left.length === role.permissions.length) throw new KvError('KV_PERMISSION_NOT_GRANTED');
  return withRole(state, { name, permissions: left });
}
