import { createHmac, timingSafeEqual } from 'node:crypto';
import type { AuthState, User } from '@kvorum/auth';
import { isCount, isPlain, toHex } from '@kvorum/base';
import type { Clock, Rng } from '@kvorum/ports';
import type { Identity } from './identity.ts';
import { RecentMap, TOKEN_LENGTH_MAX, type Tokens } from './tokens.ts';

const NONCE_BYTES = 16;
const KNOWN_MAX = 10_000;

interface Known {
  readonly identity: Identity;
  readonly tokenKey: string;
  usedMs: number;
}

interface Claims {
  readonly user: string;
  readonly since: number;
  readonly issuedMs: number;
}

export interface SimpleTokensParts {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Of the configuration: who reads the log of the meta group cannot make tokens without it. */
  readonly secret: string;
  readonly ttlMs: number;
}

/**
 * Tokens that every member can read: who, since when, and a signature by a key that lies in the state of authorization. They end
 * `ttlMs` after they were issued or used last at the member that is asked; with the user, its password, and the key.
 */
export class SimpleTokens implements Tokens {
  readonly #parts: SimpleTokensParts;
  readonly #known = new RecentMap<Known>(KNOWN_MAX);

  constructor(parts: SimpleTokensParts) {
    this.#parts = parts;
  }

  issue(user: User, state: AuthState): string {
    const { clock, rng } = this.#parts;
    const claims = {
      user: user.name,
      since: user.since,
      issuedMs: clock.wallMs(),
      nonce: toHex(rng.bytes(NONCE_BYTES)),
    };
    const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
    return `${payload}.${this.#sign(payload, state).toString('base64url')}`;
  }

  read(token: string, state: AuthState): Identity | undefined {
    if (token.length > TOKEN_LENGTH_MAX) return undefined;
    const { clock, ttlMs } = this.#parts;
    const nowMs = clock.nowMs();
    const known = this.#known.get(token);
    if (known?.tokenKey === state.tokenKey && nowMs - known.usedMs <= ttlMs) {
      known.usedMs = nowMs;
      return known.identity;
    }
    const claims = this.#verified(token, state);
    if (claims === undefined || clock.wallMs() - claims.issuedMs > ttlMs) {
      this.#known.delete(token);
      return undefined;
    }
    const identity = { user: claims.user, since: claims.since };
    this.#known.set(token, { identity, tokenKey: state.tokenKey, usedMs: nowMs });
    return identity;
  }

  #verified(token: string, state: AuthState): Claims | undefined {
    const [payload = '', signature = '', ...rest] = token.split('.');
    if (state.tokenKey === '' || rest.length > 0) return undefined;
    const given = Buffer.from(signature, 'base64url');
    const expected = this.#sign(payload, state);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
    return claimsOf(payload);
  }

  #sign(payload: string, state: AuthState): Buffer {
    const key = createHmac('sha256', Buffer.from(state.tokenKey, 'hex'))
      .update(this.#parts.secret)
      .digest();
    return createHmac('sha256', key).update(payload).digest();
  }
}

/** Of a payload whose signature is right; undefined when another version of kvd wrote it. */
function claimsOf(payload: string): Claims | undefined {
  let plain: unknown;
  try {
    plain = JSON.parse(Buffer.from(payload, 'base64url').toString());
  } catch {
    return undefined; // JSON.parse reports damage only by throwing
  }
  if (!isPlain(plain)) return undefined;
  const { user, since, issuedMs } = plain as Readonly<Record<keyof Claims, unknown>>;
  if (typeof user !== 'string' || !isCount(since) || typeof issuedMs !== 'number') return undefined;
  return { user, since, issuedMs };
}
