import { err, isCount, isPlain, KvError, ok, type Plain, type Result } from '@kvorum/base';

/** The right to keys: one, or [key, rangeEnd) with etcd's rules for `rangeEnd`. */
export interface KeyPermission {
  readonly kind: 'read' | 'write' | 'readwrite';
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

/**
 * What the control method `auth` takes: one step of administration, or a question. `logIn` asks for a token, as etcd's
 * `Authenticate`.
 */
export type AuthParams =
  | { readonly action: 'status' | 'enable' | 'disable' | 'listUsers' | 'listRoles' }
  | {
      readonly action: 'logIn' | 'changePassword';
      readonly user: string;
      readonly password: string;
    }
  /** Without a password no password logs the user in. */
  | { readonly action: 'addUser'; readonly user: string; readonly password?: string }
  | { readonly action: 'getUser' | 'deleteUser'; readonly user: string }
  | { readonly action: 'grantRole' | 'revokeRole'; readonly user: string; readonly role: string }
  | { readonly action: 'addRole' | 'getRole' | 'deleteRole'; readonly role: string }
  | ({ readonly action: 'grantPermission'; readonly role: string } & KeyPermission)
  | {
      readonly action: 'revokePermission';
      readonly role: string;
      readonly key: Uint8Array;
      readonly rangeEnd: Uint8Array;
    };
export type AuthAction = AuthParams['action'];

/** Its answer: what the action asked for; everything else is absent. */
export interface AuthAnswer {
  readonly enabled?: boolean;
  /** Grows with every change, as etcd's authRevision. */
  readonly revision?: number;
  readonly token?: string;
  readonly users?: readonly string[];
  readonly roles?: readonly string[];
  readonly permissions?: readonly KeyPermission[];
}

export const PERMISSION_KINDS: readonly KeyPermission['kind'][] = ['read', 'write', 'readwrite'];

class Malformed extends Error {}

function fail(what: string): never {
  throw new Malformed(what);
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null;

function text(fields: Plain, name: string): string {
  const { [name]: value } = fields;
  return typeof value === 'string' ? value : fail(`${name} must be a string`);
}

function bytes(fields: Plain, name: string): Uint8Array {
  const { [name]: value } = fields;
  return value instanceof Uint8Array ? value : fail(`${name} must be bytes`);
}

const spanOf = (fields: Plain): { readonly key: Uint8Array; readonly rangeEnd: Uint8Array } => ({
  key: bytes(fields, 'key'),
  rangeEnd: isAbsent(fields['rangeEnd']) ? new Uint8Array(0) : bytes(fields, 'rangeEnd'),
});

function permissionOf(fields: Plain): KeyPermission {
  const kind = PERMISSION_KINDS.find((known) => known === fields['kind']);
  if (kind === undefined) return fail(`kind must be one of ${PERMISSION_KINDS.join(', ')}`);
  return { kind, ...spanOf(fields) };
}

function paramsOf(fields: Plain): AuthParams {
  const { action } = fields as { readonly action?: AuthAction };
  switch (action) {
    case 'status':
    case 'enable':
    case 'disable':
    case 'listUsers':
    case 'listRoles':
      return { action };
    case 'logIn':
    case 'changePassword':
      return { action, user: text(fields, 'user'), password: text(fields, 'password') };
    case 'addUser': {
      const password = isAbsent(fields['password']) ? {} : { password: text(fields, 'password') };
      return { action, user: text(fields, 'user'), ...password };
    }
    case 'getUser':
    case 'deleteUser':
      return { action, user: text(fields, 'user') };
    case 'grantRole':
    case 'revokeRole':
      return { action, user: text(fields, 'user'), role: text(fields, 'role') };
    case 'addRole':
    case 'getRole':
    case 'deleteRole':
      return { action, role: text(fields, 'role') };
    case 'grantPermission':
      return { action, role: text(fields, 'role'), ...permissionOf(fields) };
    case 'revokePermission':
      return { action, role: text(fields, 'role'), ...spanOf(fields) };
    default:
      return fail('action is unknown');
  }
}

function texts(fields: Plain, name: 'users' | 'roles'): AuthAnswer {
  const { [name]: value } = fields;
  if (isAbsent(value)) return {};
  const isList = Array.isArray(value) && value.every((one) => typeof one === 'string');
  return isList ? { [name]: value } : fail(`${name} must be a list of strings`);
}

function answerOf(fields: Plain): AuthAnswer {
  const { enabled, revision, token, permissions } = fields;
  if (!isAbsent(permissions) && !Array.isArray(permissions)) fail('permissions must be a list');
  const listed = Array.isArray(permissions) ? (permissions as readonly unknown[]) : undefined;
  return {
    ...(typeof enabled === 'boolean' ? { enabled } : {}),
    ...(isCount(revision) ? { revision } : {}),
    ...(typeof token === 'string' ? { token } : {}),
    ...texts(fields, 'users'),
    ...texts(fields, 'roles'),
    ...(listed === undefined
      ? {}
      : {
          permissions: listed.map((one) =>
            isPlain(one) ? permissionOf(one) : fail('a permission must be an object'),
          ),
        }),
  };
}

function parse<T>(value: unknown, read: (fields: Plain) => T): Result<T, KvError> {
  try {
    return ok(read(isPlain(value) ? value : fail('not an object')));
  } catch (error) {
    if (error instanceof Malformed) {
      return err(new KvError('KV_MALFORMED', `auth: ${error.message}`));
    }
    throw error;
  }
}

/** Errors: KV_MALFORMED naming the field. */
export function parseAuthParams(value: unknown): Result<AuthParams, KvError> {
  return parse(value, paramsOf);
}

/** Errors: KV_MALFORMED naming the field. */
export function parseAuthAnswer(value: unknown): Result<AuthAnswer, KvError> {
  return parse(value, answerOf);
}
