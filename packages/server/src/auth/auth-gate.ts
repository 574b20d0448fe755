import { createHmac, randomBytes } from 'node:crypto';
import { type AuthState, allows, type Needs, type Rights, rightsOf, spanOf } from '@kvorum/auth';
import { EMPTY_BYTES, KvError, type LeaseId, type Limits } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { AuthStateSource } from './auth-state-source.ts';
import { expiredIdentity, type Identity } from './identity.ts';
import type { LeaseKeys } from './lease-keys.ts';
import type { Passwords } from './passwords.ts';
import { RecentMap, type Tokens } from './tokens.ts';

const LOGGED_IN_MAX = 1000;
const LOGGED_IN_MS = 60_000;

export interface AuthGateParts {
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'requestTimeoutMs'>;
  readonly source: AuthStateSource;
  readonly tokens: Tokens;
  readonly passwords: Passwords;
}

/** Lets through what is allowed, on every interface of the member. Nothing passes that nobody has asked it about. */
export class AuthGate {
  readonly source: AuthStateSource;
  readonly passwords: Passwords;
  readonly #tokens: Tokens;
  readonly #clock: Clock;
  readonly #limits: Pick<Limits, 'requestTimeoutMs'>;
  /** By a hash of name and password that no other process can compute. */
  readonly #loggedIn = new RecentMap<{ readonly identity: Identity; readonly sinceMs: number }>(
    LOGGED_IN_MAX,
  );
  readonly #hashKey = randomBytes(32);
  /** Of `#state` only. */
  #rights = new Map<string, Rights>();
  #state: AuthState | undefined;
  #leases: LeaseKeys | undefined;

  constructor({ clock, limits, source, tokens, passwords }: AuthGateParts) {
    this.#clock = clock;
    this.#limits = limits;
    this.source = source;
    this.#tokens = tokens;
    this.passwords = passwords;
  }

  setLeases(leases: LeaseKeys): void {
    this.#leases = leases;
  }

  get isEnabled(): boolean {
    return this.source.isEnabled;
  }

  /** Resolves when somebody may be served. Errors: KV_UNAVAILABLE at the deadline, at the latest after `limits.requestTimeoutMs`. */
  ready(deadlineMs: number | undefined): Promise<void> {
    const latestMs = this.#clock.nowMs() + this.#limits.requestTimeoutMs;
    return this.source.ready(Math.min(deadlineMs ?? latestMs, latestMs));
  }

  /** The same for those who show their password with each request: it is compared once a minute. */
  async logInAgain(name: string, password: string): Promise<Identity> {
    const hash = createHmac('sha256', this.#hashKey).update(JSON.stringify([name, password]));
    const key = hash.digest('base64');
    const nowMs = this.#clock.nowMs();
    const known = this.#loggedIn.get(key);
    const isCurrent =
      known !== undefined &&
      nowMs - known.sinceMs <= LOGGED_IN_MS &&
      expiredIdentity(known.identity, this.source.state) === undefined;
    if (isCurrent) return known.identity;
    const { identity } = await this.logIn(name, password);
    this.#loggedIn.set(key, { identity, sinceMs: nowMs });
    return identity;
  }

  /** Who has logged in with this password, and a token for it. Errors: KV_AUTH_NOT_ENABLED, KV_AUTH_FAILED, KV_TOO_MANY_REQUESTS. */
  async logIn(
    name: string,
    password: string,
  ): Promise<{
    readonly identity: Identity;
    readonly token: () => string;
  }> {
    if (!this.isEnabled) throw new KvError('KV_AUTH_NOT_ENABLED');
    const user = this.source.state.users.get(name);
    const isRight = await this.passwords.matches(user, name, password);
    // It took a while: the password may have been changed meanwhile.
    const { state } = this.source;
    const now = state.users.get(name);
    const isSame = now?.passwordHash === user?.passwordHash && now?.since === user?.since;
    if (!isRight || !isSame || now === undefined) throw new KvError('KV_AUTH_FAILED');
    const identity = { user: name, since: now.since };
    return { identity, token: () => this.#tokens.issue(now, state) };
  }

  /** Who shows this token. Errors: KV_UNAUTHENTICATED, KV_AUTH_OLD_REVISION. */
  identify(token: string): Identity {
    const { state } = this.source;
    const identity = this.#tokens.read(token, state);
    if (identity === undefined) throw new KvError('KV_UNAUTHENTICATED');
    const expired = expiredIdentity(identity, state);
    if (expired !== undefined) throw expired;
    return identity;
  }

  /**
   * Why somebody may not do this; undefined: they may. Leases are not looked at, {@link authorize} does.
   *
   * KV_UNAVAILABLE: it is not known at the moment.
   */
  refusal(identity: Identity | undefined, needs: Needs): KvError | undefined {
    const rights = this.#rightsOf(identity);
    if (rights instanceof KvError) return rights;
    return allows(rights, needs) ? undefined : new KvError('KV_PERMISSION_DENIED');
  }

  /** Why somebody may not do what needs no more than to be somebody. */
  anonymous(identity: Identity | undefined): KvError | undefined {
    const rights = this.#rightsOf(identity);
    return rights instanceof KvError ? rights : undefined;
  }

  /** As {@link refusal}, with everything that hangs on the leases named. Errors: the refusal. */
  async authorize(identity: Identity | undefined, needs: Needs): Promise<void> {
    const refusal = this.refusal(identity, needs);
    if (refusal !== undefined) throw refusal;
    if (!hasLeases(needs)) return;
    const rights = this.#rightsOf(identity);
    if (rights instanceof KvError) throw rights;
    if (rights.isRoot) return;
    const writes = [...needs.writes, ...(await this.#spansOf(needs.leases))];
    const all = needs.allLeases ? await this.#leaseKeys().all() : [];
    const reads = [...needs.reads, ...(await this.#spansOf([...needs.leaseReads, ...all]))];
    // Asked anew: the rights may be others by now.
    const late = this.refusal(identity, { ...needs, writes, reads });
    if (late !== undefined) throw late;
  }

  async #spansOf(leases: readonly LeaseId[]): Promise<Needs['writes']> {
    const keys = await Promise.all(
      [...new Set(leases)].map((lease) => this.#leaseKeys().keysOf(lease)),
    );
    return keys.flat().map((key) => spanOf(key, EMPTY_BYTES));
  }

  /** What cannot be asked is not allowed. */
  #leaseKeys(): LeaseKeys {
    if (this.#leases === undefined) throw new KvError('KV_PERMISSION_DENIED');
    return this.#leases;
  }

  #rightsOf(identity: Identity | undefined): Rights | KvError {
    const unknown = this.source.refusal();
    if (unknown !== undefined) return unknown;
    if (identity === undefined) return new KvError('KV_USER_EMPTY');
    const { state } = this.source;
    if (state !== this.#state) {
      this.#rights = new Map();
      this.#state = state;
    }
    const expired = expiredIdentity(identity, state);
    if (expired !== undefined) return expired;
    const known = this.#rights.get(identity.user) ?? rightsOf(state, identity.user);
    if (known === undefined) return new KvError('KV_PERMISSION_DENIED');
    this.#rights.set(identity.user, known);
    return known;
  }
}

/** Whether it takes more than the state to say whether something is allowed. */
export function hasLeases({ leases, leaseReads, allLeases }: Needs): boolean {
  return allLeases || leases.length > 0 || leaseReads.length > 0;
}
