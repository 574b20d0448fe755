import { type AuthChange, decodeAuthState, type Permission, ROOT } from '@kvorum/auth';
import { EMPTY_BYTES, KvError, RANGE_END_OPEN, toHex } from '@kvorum/base';
import { systemRng } from '../member/system.ts';
import type { MemberAuth } from './member-auth.ts';
import { isPasswordHash } from './passwords.ts';

const TOKEN_KEY_BYTES = 32;
const newTokenKey = (): string => toHex(systemRng.bytes(TOKEN_KEY_BYTES));

/** A user's name, and what they say their password is. */
export interface Password {
  readonly user: string;
  readonly password: string;
}

/** What the role root may do, as etcd shows it. */
const EVERYTHING: Permission = { kind: 'readwrite', key: EMPTY_BYTES, rangeEnd: RANGE_END_OPEN };

/**
 * Administration of users and roles, for every interface. Who may do what is asked before, by the interface. Errors: those of
 * `applyAuthChange`, and why this member does not serve.
 */
export class AuthOperations {
  readonly #auth: MemberAuth;
  readonly #refusal: () => KvError | undefined;

  constructor(auth: MemberAuth, refusal: () => KvError | undefined) {
    this.#auth = auth;
    this.#refusal = refusal;
  }

  /** Resolves when every member goes by it. */
  async change(wanted: AuthChange): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    await this.#auth.admin.change(wanted);
  }

  enable(): Promise<void> {
    return this.change({ kind: 'enable', tokenKey: newTokenKey() });
  }

  /**
   * Users and roles of a backup, enabled as they were: the bytes of the key in the old cluster's meta group.
   *
   * @param shown - who asks. Where they are enabled it must be one of them with the role root: nobody is locked out by a restore.
   * Errors: KV_BACKUP when this cluster has users of its own; KV_CORRUPT; KV_AUTH_FAILED.
   */
  async restore(
    bytes: Uint8Array,
    shown: Password | undefined,
  ): Promise<{ readonly enabled: boolean; readonly users: number; readonly roles: number }> {
    const from = decodeAuthState(bytes);
    const hashes = [...(from?.users.values() ?? [])].map(({ passwordHash }) => passwordHash);
    if (from === undefined || !hashes.every((hash) => hash === undefined || isPasswordHash(hash))) {
      throw new KvError('KV_CORRUPT', 'the users and roles of the backup are damaged');
    }
    if (from.enabled) {
      const { user: name = '', password = '' } = shown ?? {};
      const user = from.users.get(name);
      const isRight = await this.#auth.gate.passwords.matches(user, name, password);
      if (!isRight || user?.roles.includes(ROOT) !== true) {
        throw new KvError('KV_AUTH_FAILED', 'the backup is of a cluster with authorization', {
          details: { hint: 'give --user root with the password of then, or --without-auth' },
        });
      }
    }
    await this.change({ kind: 'restore', from, tokenKey: newTokenKey() });
    return { enabled: from.enabled, users: from.users.size, roles: from.roles.size };
  }

  async status(): Promise<{ readonly enabled: boolean; readonly revision: number }> {
    await this.#auth.source.confirm();
    const { enabled, revision } = this.#auth.source.state;
    return { enabled, revision };
  }

  /** A token. Errors: KV_AUTH_NOT_ENABLED, KV_AUTH_FAILED, KV_TOO_MANY_REQUESTS, KV_UNAVAILABLE. */
  async logIn(name: string, password: string, deadlineMs?: number): Promise<string> {
    const { gate } = this.#auth;
    await gate.ready(deadlineMs);
    const { token } = await gate.logIn(name, password);
    return token();
  }

  /** @param password - undefined: no password logs the user in. */
  async addUser(name: string, password: string | undefined): Promise<void> {
    if (name === '') throw new KvError('KV_USER_EMPTY');
    const hash = password === undefined ? {} : { passwordHash: await this.#hash(name, password) };
    await this.change({ kind: 'user-add', name, ...hash });
  }

  async changePassword(name: string, password: string): Promise<void> {
    const passwordHash = await this.#hash(name, password);
    await this.change({ kind: 'user-password', name, passwordHash });
  }

  /** In the order of their names. */
  async users(): Promise<readonly string[]> {
    await this.#auth.source.confirm();
    return [...this.#auth.source.state.users.keys()].sort();
  }

  /** Errors: KV_USER_NOT_FOUND. */
  async rolesOfUser(name: string): Promise<readonly string[]> {
    await this.#auth.source.confirm();
    const user = this.#auth.source.state.users.get(name);
    if (user === undefined) throw new KvError('KV_USER_NOT_FOUND');
    return user.roles;
  }

  /** In the order of their names. */
  async roles(): Promise<readonly string[]> {
    await this.#auth.source.confirm();
    return [...this.#auth.source.state.roles.keys()].sort();
  }

  /** Errors: KV_ROLE_NOT_FOUND. */
  async permissionsOfRole(name: string): Promise<readonly Permission[]> {
    await this.#auth.source.confirm();
    const role = this.#auth.source.state.roles.get(name);
    if (role === undefined) throw new KvError('KV_ROLE_NOT_FOUND');
    return name === ROOT ? [EVERYTHING] : role.permissions;
  }

  #hash(name: string, password: string): Promise<string> {
    return this.#auth.gate.passwords.hash(name, password);
  }
}
