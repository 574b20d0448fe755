import { setTimeout as pause } from 'node:timers/promises';
import { isKvError } from '@kvorum/base';
import { compare, op } from '@kvorum/client';
import type { Rng } from '@kvorum/ports';
import { viaMember } from './at-member.ts';
import { base64, callGateway, GatewayError } from './gateway.ts';
import { nowMs } from './recorder.ts';
import type { SideLoadParts } from './side-load-parts.ts';

const USERS = 3;
const LOCKS = 2;
const TTL_SECONDS = 4;
const WAIT_MS = 8000;
const ATTEMPT_MS = 2000;
const PAUSE_MS = 150;
const WRITES_MAX = 3;

/** A write that was made while its writer's key of the lock was there. */
export interface Fenced {
  readonly revision: number;
  /** Creation revision of that key. */
  readonly token: number;
  readonly user: string;
}

/** A time in which somebody was sure to hold the lock. */
export interface Tenure {
  readonly user: string;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Locks lie outside of what the watchers of the load see, each with what it guards in one shard. */
export const LOCK_PREFIX = '{lock';

/**
 * Users of etcd's locks, at any member. Whoever holds one writes what it guards, in a txn that compares its own key of the lock: by the
 * revisions of these writes one holder comes after the other, and never two at once.
 */
export class LockUsers {
  readonly problems: string[] = [];
  readonly counts = { taken: 0, fenced: 0, lost: 0 };
  readonly #parts: Pick<SideLoadParts, 'anyDoor'>;
  readonly #rng: Rng;
  readonly #fenced = new Map<string, Fenced[]>();
  readonly #tenures = new Map<string, Tenure[]>();
  #running = true;
  #abandoned = false;
  #lastId = 1_000_000n;
  #loops: Promise<void>[] = [];

  constructor(parts: Pick<SideLoadParts, 'anyDoor' | 'rng'>) {
    this.#parts = parts;
    this.#rng = parts.rng;
  }

  start(): void {
    this.#loops = Array.from({ length: USERS }, (_, i) => this.#run(`user${i}`));
  }

  /** Resolves when nobody wants a lock any more, and nothing is left of any; then all of it is judged. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
    for (const [lock, writes] of this.#fenced) this.problems.push(...judgeFenced(lock, writes));
    for (const [lock, tenures] of this.#tenures) {
      this.problems.push(...judgeTenures(lock, tenures));
    }
  }

  /** Nothing answers any more. */
  abandon(): void {
    this.#running = false;
    this.#abandoned = true;
  }

  async #run(user: string): Promise<void> {
    while (this.#running) {
      await this.#session(user);
      await pause(this.#rng.integer(0, PAUSE_MS));
    }
  }

  async #session(user: string): Promise<void> {
    this.#lastId += 1n;
    const lease = `${this.#lastId}`;
    const startMs = nowMs();
    const granted = await this.#ask('lease/grant', { ID: lease, TTL: `${TTL_SECONDS}` });
    if (granted !== undefined) {
      await this.#use(user, lease, startMs);
      // Also what may still wait for the lock goes with it.
      await this.#insist('lease/revoke', { ID: lease });
    } else await pause(PAUSE_MS);
  }

  async #use(user: string, lease: string, grantedMs: number): Promise<void> {
    const lock = `${LOCK_PREFIX}${this.#rng.integer(0, LOCKS)}}/`;
    const body = { name: base64(`${lock}of`), lease };
    const alive = { untilMs: grantedMs + TTL_SECONDS * 1000 };
    const waiting = this.#keptAlive(lease, alive);
    const taken = await this.#ask('lock/lock', body, WAIT_MS);
    waiting.abort();
    const answered = taken?.['key'];
    if (typeof answered !== 'string') return;
    const key = Buffer.from(answered, 'base64').toString();
    this.counts.taken += 1;
    const fromMs = nowMs();
    const writes = this.#rng.integer(1, WRITES_MAX + 1);
    for (let i = 0; i < writes; i += 1) {
      if (!(await this.#write(lock, { user, key, alive }))) return;
      await pause(this.#rng.integer(0, PAUSE_MS));
    }
    const untilMs = Math.min(nowMs(), alive.untilMs);
    const tenures = this.#tenures.get(lock) ?? [];
    this.#tenures.set(lock, tenures);
    if (untilMs > fromMs) tenures.push({ user, fromMs, untilMs });
    if (this.#rng.integer(0, 2) === 0) await this.#ask('lock/unlock', { key: base64(key) });
  }

  /** Renews a lease every second until it is told not to, and notes until when it surely lives. */
  #keptAlive(lease: string, alive: { untilMs: number }): AbortController {
    const end = new AbortController();
    const renew = async (): Promise<void> => {
      while (!end.signal.aborted) {
        await pause(1000);
        const startMs = nowMs();
        const answer = await this.#ask('lease/keepalive', { ID: lease });
        const ttlSeconds = Number(answer?.['TTL'] ?? '0');
        if (ttlSeconds > 0) {
          alive.untilMs = Math.max(alive.untilMs, startMs + ttlSeconds * 1000);
        }
      }
    };
    void renew();
    return end;
  }

  /** False: the lock is lost, or nobody knows. */
  async #write(
    lock: string,
    by: { readonly user: string; readonly key: string; readonly alive: { untilMs: number } },
  ): Promise<boolean> {
    const { user, key, alive } = by;
    const request = {
      op: 'txn' as const,
      compare: [compare(key, 'create', '>', 0)],
      success: [op.get(key), op.put(`${lock}guarded`, user)],
      failure: [],
    };
    const { door } = this.#parts.anyDoor(this.#rng);
    try {
      const { revision, response } = await viaMember(door, request, ATTEMPT_MS);
      if (response.op !== 'txn' || !response.succeeded) {
        this.counts.lost += 1;
        if (nowMs() < alive.untilMs) this.problems.push(`${user} lost ${key}, and its lease lives`);
        return false;
      }
      const own = response.responses?.[0];
      const token = own?.op === 'range' ? (own.kvs[0]?.createRevision ?? 0) : 0;
      const writes = this.#fenced.get(lock) ?? [];
      this.#fenced.set(lock, writes);
      writes.push({ revision, token, user });
      this.counts.fenced += 1;
      return true;
    } catch (error) {
      if (!isKvError(error)) throw error;
      return false;
    }
  }

  async #insist(path: string, body: Readonly<Record<string, unknown>>): Promise<void> {
    while (!this.#abandoned) {
      const { door } = this.#parts.anyDoor(this.#rng);
      try {
        await callGateway(door, path, body, ATTEMPT_MS);
        return;
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
        if (error.surelyNot && error.message.includes('not found')) return;
      }
      await pause(PAUSE_MS);
    }
  }

  /** Undefined when it did not succeed. */
  async #ask(
    path: string,
    body: Readonly<Record<string, unknown>>,
    timeoutMs: number = ATTEMPT_MS,
  ): Promise<Readonly<Record<string, unknown>> | undefined> {
    const { door } = this.#parts.anyDoor(this.#rng);
    try {
      return await callGateway(door, path, body, timeoutMs);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return undefined;
    }
  }
}

/** In the order of the log each holder's writes stand together, and who came first for the lock comes first. */
export function judgeFenced(lock: string, writes: readonly Fenced[]): readonly string[] {
  const inOrder = [...writes].sort((a, b) => a.revision - b.revision);
  return inOrder.flatMap(({ revision, token, user }, i) => {
    const before = inOrder[i - 1];
    if (before === undefined || token >= before.token) return [];
    const text = `${user} wrote at ${revision} with token ${token}, after ${before.user} at ${before.revision} with ${before.token}`;
    return [`two held ${lock} at once: ${text}`];
  });
}

/** Times in which somebody was sure to hold a lock do not meet. */
export function judgeTenures(lock: string, tenures: readonly Tenure[]): readonly string[] {
  const inOrder = [...tenures].sort((a, b) => a.fromMs - b.fromMs);
  let last: Tenure | undefined;
  const problems: string[] = [];
  for (const tenure of inOrder) {
    if (last !== undefined && last.untilMs > tenure.fromMs) {
      problems.push(`two held ${lock} at once: ${tenure.user} and ${last.user}`);
    }
    if (last === undefined || tenure.untilMs > last.untilMs) last = tenure;
  }
  return problems;
}
