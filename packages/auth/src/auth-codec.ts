import { fromHex, isCount, isPlain, type Plain, toHex, tryUtf8, utf8 } from '@kvorum/base';
import type { AuthState, Permission, PermissionKind, Role, User } from './auth-state.ts';

/** Version of the encoding; a newer one is refused. */
const FORMAT = 1;
const KINDS: readonly PermissionKind[] = ['read', 'write', 'readwrite'];

/** The state as the bytes of its key. */
export function encodeAuthState(state: AuthState): Uint8Array {
  const { version, revision, enabled, tokenKey } = state;
  const users = [...state.users.values()];
  const roles = [...state.roles.values()].map(({ name, permissions }) => ({
    name,
    permissions: permissions.map(({ kind, key, rangeEnd }) => [kind, toHex(key), toHex(rangeEnd)]),
  }));
  return utf8(
    JSON.stringify({ format: FORMAT, version, revision, enabled, tokenKey, users, roles }),
  );
}

/** Undefined when the bytes are no state that this version understands: who may do what is not known then. */
export function decodeAuthState(bytes: Uint8Array): AuthState | undefined {
  const text = tryUtf8(bytes);
  let plain: unknown;
  try {
    plain = text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined; // JSON.parse reports damage only by throwing
  }
  return isPlain(plain) ? stateOf(plain) : undefined;
}

function stateOf(from: Plain): AuthState | undefined {
  const { format, version, revision, enabled, tokenKey } = from as Readonly<
    Record<'format' | 'version' | 'revision' | 'enabled' | 'tokenKey', unknown>
  >;
  const users = listOf(from['users'], userOf);
  const roles = listOf(from['roles'], roleOf);
  if (format !== FORMAT || users === undefined || roles === undefined) return undefined;
  if (!isCount(version) || !isCount(revision) || typeof enabled !== 'boolean') return undefined;
  if (typeof tokenKey !== 'string' || fromHex(tokenKey) === undefined) return undefined;
  return { version, revision, enabled, tokenKey, users: byName(users), roles: byName(roles) };
}

function byName<T extends { readonly name: string }>(items: readonly T[]): ReadonlyMap<string, T> {
  return new Map(items.map((item) => [item.name, item]));
}

function listOf<T>(value: unknown, parse: (item: unknown) => T | undefined): T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items: T[] = [];
  for (const one of value as readonly unknown[]) {
    const item = parse(one);
    if (item === undefined) return undefined;
    items.push(item);
  }
  return items;
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined;

function userOf(value: unknown): User | undefined {
  if (!isPlain(value)) return undefined;
  const { name, passwordHash, since } = value as Readonly<
    Record<'name' | 'passwordHash' | 'since', unknown>
  >;
  const roles = listOf(value['roles'], textOf);
  if (typeof name !== 'string' || roles === undefined || !isCount(since)) return undefined;
  if (passwordHash === undefined) return { name, roles, since };
  return typeof passwordHash === 'string' ? { name, roles, since, passwordHash } : undefined;
}

function roleOf(value: unknown): Role | undefined {
  if (!isPlain(value) || typeof value['name'] !== 'string') return undefined;
  const permissions = listOf(value['permissions'], permissionOf);
  return permissions === undefined ? undefined : { name: value['name'], permissions };
}

function permissionOf(value: unknown): Permission | undefined {
  if (!Array.isArray(value)) return undefined;
  const [name, keyHex, endHex] = value as readonly unknown[];
  const kind = KINDS.find((known) => known === name);
  const key = typeof keyHex === 'string' ? fromHex(keyHex) : undefined;
  const rangeEnd = typeof endHex === 'string' ? fromHex(endHex) : undefined;
  if (kind === undefined || key === undefined || rangeEnd === undefined) return undefined;
  return { kind, key, rangeEnd };
}
