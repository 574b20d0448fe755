import { compareBytes, utf8 } from '@kvorum/base';

/** Key of the state in the meta shard; its value is JSON (auth-codec.ts). */
export const AUTH_STATE_KEY: Uint8Array = utf8('auth');

/** The user that must exist before authorization can be enabled, and the role that may do everything. */
export const ROOT = 'root';

export type PermissionKind = 'read' | 'write' | 'readwrite';

/** The right to keys [key, rangeEnd), with etcd's rules for `rangeEnd`. */
export interface Permission {
  readonly kind: PermissionKind;
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

export interface Role {
  readonly name: string;
  /** Ordered by key, then by end; no two of the same range. */
  readonly permissions: readonly Permission[];
}

export interface User {
  readonly name: string;
  /** In the order of their names. */
  readonly roles: readonly string[];
  /** As bcrypt writes it; absent = no password logs this user in. */
  readonly passwordHash?: string;
  /** `version` of the state that made the user or its password: tokens that were issued before count nothing. */
  readonly since: number;
}

/** Who may do what, as a whole. */
export interface AuthState {
  /** Grows with every change; the higher one is newer. 0 = there was none yet. */
  readonly version: number;
  /** etcd's authRevision: from 1, grows with every change but that of enabling. */
  readonly revision: number;
  readonly enabled: boolean;
  /** Signs simple tokens, hex; another one each time that authorization is enabled. */
  readonly tokenKey: string;
  readonly users: ReadonlyMap<string, User>;
  readonly roles: ReadonlyMap<string, Role>;
}

export const NO_AUTH: AuthState = {
  version: 0,
  revision: 1,
  enabled: false,
  tokenKey: '',
  users: new Map(),
  roles: new Map(),
};

/** The order of a role's permissions. */
export function comparePermissions(
  a: Pick<Permission, 'key' | 'rangeEnd'>,
  b: Pick<Permission, 'key' | 'rangeEnd'>,
): number {
  return compareBytes(a.key, b.key) || compareBytes(a.rangeEnd, b.rangeEnd);
}
