import { KvError } from '@kvorum/base';
import {
  type AuthAnswer,
  type AuthParams,
  type KeyPermission,
  PERMISSION_KINDS,
  parseAuthAnswer,
} from '@kvorum/wire';
import type { Control } from './control.ts';
import { type Bytes, type KeyRange, spanOfTarget } from './key-range.ts';
import { CALL_OPTIONS, type CallOptions, checkOptions } from './options.ts';

/** Whether authorization is enabled. `revision` grows with every change of users, roles and permissions. */
export interface AuthStatus {
  readonly enabled: boolean;
  readonly revision: number;
}

export type PermissionKind = KeyPermission['kind'];

const QUESTIONS: readonly AuthParams['action'][] = [
  ...(['status', 'logIn', 'listUsers', 'getUser', 'listRoles', 'getRole'] as const),
];

/**
 * Users, roles and permissions: `kv.auth`. Once authorization is enabled this is for those with the role `root`, but for what everybody may
 * know of themselves. A change holds at every member when it is answered.
 *
 * Errors of all: KV_PERMISSION_DENIED; KV_TIMEOUT of a change whose answer was lost: look before you repeat it.
 */
export class AuthAdmin {
  readonly #control: Control;

  /** @internal */
  constructor(control: Control) {
    this.#control = control;
  }

  async status(options: CallOptions = {}): Promise<AuthStatus> {
    const { enabled, revision } = await this.#ask({ action: 'status' }, options);
    return { enabled: must(enabled), revision: must(revision) };
  }

  /**
   * Asks everybody who they are from now on; every member must answer. Connect with `auth` before, or this client is nobody afterwards.
   *
   * Errors: KV_ROOT_USER_MISSING, KV_ROOT_ROLE_MISSING, KV_UNAVAILABLE while a member does not answer.
   */
  async enable(options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'enable' }, options);
    this.#control.logInAgain();
  }

  async disable(options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'disable' }, options);
  }

  /** A token for `connect({ auth: { token } })` and for etcd's clients. Errors: KV_AUTH_FAILED, KV_AUTH_NOT_ENABLED. */
  async logIn(user: string, password: string, options: CallOptions = {}): Promise<string> {
    return must((await this.#ask({ action: 'logIn', user, password }, options)).token);
  }

  /** Without a password no password logs the user in. Errors: KV_USER_EXISTS, KV_USER_EMPTY, KV_INVALID_ARGUMENT. */
  async addUser(
    user: string,
    password: string | undefined,
    options: CallOptions = {},
  ): Promise<void> {
    const shown = password === undefined ? {} : { password };
    await this.#ask({ action: 'addUser', user, ...shown }, options);
  }

  /** Ends the user's sessions and tokens. Errors: KV_USER_NOT_FOUND; KV_AUTH_MANAGEMENT for root. */
  async deleteUser(user: string, options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'deleteUser', user }, options);
  }

  /** Errors: KV_USER_NOT_FOUND. */
  async changePassword(user: string, password: string, options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'changePassword', user, password }, options);
  }

  /** Names of all users. */
  async users(options: CallOptions = {}): Promise<readonly string[]> {
    return must((await this.#ask({ action: 'listUsers' }, options)).users);
  }

  /** Names of a user's roles. Errors: KV_USER_NOT_FOUND. */
  async rolesOf(user: string, options: CallOptions = {}): Promise<readonly string[]> {
    return must((await this.#ask({ action: 'getUser', user }, options)).roles);
  }

  /** Errors: KV_USER_NOT_FOUND, KV_ROLE_NOT_FOUND. */
  async grantRole(user: string, role: string, options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'grantRole', user, role }, options);
  }

  /** Errors: KV_USER_NOT_FOUND, KV_ROLE_NOT_GRANTED. */
  async revokeRole(user: string, role: string, options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'revokeRole', user, role }, options);
  }

  /** Errors: KV_ROLE_EXISTS, KV_ROLE_EMPTY. */
  async addRole(role: string, options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'addRole', role }, options);
  }

  /** Errors: KV_ROLE_NOT_FOUND. */
  async deleteRole(role: string, options: CallOptions = {}): Promise<void> {
    await this.#ask({ action: 'deleteRole', role }, options);
  }

  /** Names of all roles. */
  async roles(options: CallOptions = {}): Promise<readonly string[]> {
    return must((await this.#ask({ action: 'listRoles' }, options)).roles);
  }

  /** What a role may do. Errors: KV_ROLE_NOT_FOUND. */
  async permissionsOf(role: string, options: CallOptions = {}): Promise<readonly KeyPermission[]> {
    return must((await this.#ask({ action: 'getRole', role }, options)).permissions);
  }

  /** The right to a key or range: `grantPermission('app', 'readwrite', { prefix: 'app/' })`. Errors: KV_ROLE_NOT_FOUND. */
  async grantPermission(
    role: string,
    kind: PermissionKind,
    target: Bytes | KeyRange,
    options: CallOptions = {},
  ): Promise<void> {
    if (!PERMISSION_KINDS.includes(kind)) {
      const known = PERMISSION_KINDS.join(', ');
      throw new KvError('KV_INVALID_ARGUMENT', `the kind of a permission must be one of ${known}`);
    }
    const action = 'grantPermission';
    await this.#ask({ action, role, kind, ...spanOfTarget(target) }, options);
  }

  /** Of exactly the key or range that it was granted for. Errors: KV_ROLE_NOT_FOUND, KV_PERMISSION_NOT_GRANTED. */
  async revokePermission(
    role: string,
    target: Bytes | KeyRange,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#ask({ action: 'revokePermission', role, ...spanOfTarget(target) }, options);
  }

  #ask(params: AuthParams, options: CallOptions): Promise<AuthAnswer> {
    checkOptions(options, CALL_OPTIONS);
    const isWrite = !QUESTIONS.includes(params.action);
    return this.#control.auth({ method: 'auth', params, parse: parseAuthAnswer, isWrite }, options);
  }
}

function must<T>(found: T | undefined): T {
  if (found !== undefined) return found;
  throw new KvError('KV_MALFORMED', 'the member answered something else than it was asked');
}
