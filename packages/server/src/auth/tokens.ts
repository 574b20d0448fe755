import type { AuthState, User } from '@kvorum/auth';
import type { Identity } from './identity.ts';

/** Longest token that is looked at. */
export const TOKEN_LENGTH_MAX = 4096;

/** Issues tokens and reads them again, at any member. */
export interface Tokens {
  /** Errors: KV_CONFIG when this member can read tokens but not make them. */
  issue(user: User, state: AuthState): string;
  /** Undefined for anything but a token of this cluster that has not expired. */
  read(token: string, state: AuthState): Identity | undefined;
}

/** The newest `max` entries; what was used least lately makes room. */
export class RecentMap<Value> {
  readonly #max: number;
  readonly #entries = new Map<string, Value>();

  constructor(max: number) {
    this.#max = max;
  }

  get(key: string): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: string, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#max) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}
