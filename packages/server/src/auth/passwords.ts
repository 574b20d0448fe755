import type { User } from '@kvorum/auth';
import { KvError } from '@kvorum/base';
import { hash, verify } from '@node-rs/bcrypt';
import { BCRYPT_COST_MAX, BCRYPT_COST_MIN } from '../config/schema.ts';

/** bcrypt takes no longer ones: what lies beyond would not count. */
const BYTES_MAX = 72;
/** At a time; they run on the threads that files are read with, of which there are four. */
const RUNNING_MAX = 2;
const WAITING_MAX = 64;
/** Of one user: whoever guesses one user's password keeps nobody else from logging in. */
const WAITING_OF_USER_MAX = 8;

/** Passwords as bcrypt hashes, made and compared off the event loop, a few at a time. */
export class Passwords {
  readonly #cost: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #waitingOf = new Map<string, number>();
  /** Compared with where there is no user, so that it takes as long. */
  #nobody: Promise<string> | undefined;

  constructor(cost: number) {
    this.#cost = cost;
  }

  /** Errors: KV_INVALID_ARGUMENT for a password that cannot be one; KV_TOO_MANY_REQUESTS. */
  async hash(name: string, password: string): Promise<string> {
    const problem = unusable(password);
    if (problem !== undefined) {
      const details = { limit: BYTES_MAX, hint: 'choose another password' };
      throw new KvError('KV_INVALID_ARGUMENT', `the password ${problem}`, { details });
    }
    return this.#inTurn(name, () => hash(password, { cost: this.#cost }));
  }

  /** Takes as long for a user that does not exist or has no password. Errors: KV_TOO_MANY_REQUESTS. */
  async matches(user: User | undefined, name: string, password: string): Promise<boolean> {
    const own = user?.passwordHash;
    return this.#inTurn(name, async () => {
      this.#nobody ??= hash('', { cost: this.#cost });
      const stored = own ?? (await this.#nobody);
      const isSame = await verify(password, stored);
      return isSame && own !== undefined && unusable(password) === undefined;
    });
  }

  async #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const ofUser = this.#waitingOf.get(name) ?? 0;
    if (ofUser >= WAITING_OF_USER_MAX || this.#waiting.length >= WAITING_MAX) {
      throw new KvError('KV_TOO_MANY_REQUESTS', 'too many log-ins at a time');
    }
    this.#waitingOf.set(name, ofUser + 1);
    try {
      if (this.#running >= RUNNING_MAX) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      } else {
        this.#running += 1;
      }
      return await work();
    } finally {
      this.#leave(name);
    }
  }

  /** The next one takes this one's place. */
  #leave(name: string): void {
    const left = (this.#waitingOf.get(name) ?? 1) - 1;
    if (left === 0) this.#waitingOf.delete(name);
    else this.#waitingOf.set(name, left);
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

/** A hash as bcrypt writes it, of a cost that may be configured: a greater one keeps whoever compares busy. */
export function isPasswordHash(text: string): boolean {
  const [, cost] = /^\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(text) ?? [];
  return cost !== undefined && Number(cost) >= BCRYPT_COST_MIN && Number(cost) <= BCRYPT_COST_MAX;
}

function unusable(password: string): string | undefined {
  if (password === '') return 'is empty';
  if (Buffer.byteLength(password) > BYTES_MAX) return `is longer than ${BYTES_MAX} bytes`;
  return password.includes('\0') ? 'holds a zero byte' : undefined;
}
