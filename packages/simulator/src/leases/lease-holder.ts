import { isKvError, type LeaseId, leaseId, type ShardId, shardId, utf8 } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import type { Replica } from '@kvorum/replica';
import { LEASE_HOME } from '@kvorum/shard';
import type { History, LeasePut } from '../history.ts';
import type { Problems } from '../invariants/names.ts';
import type { SimMember } from '../member.ts';
import type { Routing } from '../moves/routing.ts';
import type { World } from '../world.ts';
import { heldKey, type LeaseChecker } from './lease-checker.ts';

const LINK_MS_MAX = 20;
const LOST_PER_MILLE = 20;
const TIMEOUTS_MS = [700, 3000] as const;
const PAUSE_MS_MAX = 400;
const ATTEMPTS_MAX = 12;
/** Clocks show whole milliseconds. */
const ROUNDING_MS = 3;
const DRIFT_UNIT = 1024;

export interface LeaseHolderParts {
  readonly world: World;
  readonly checker: LeaseChecker;
  readonly problems: Problems;
  readonly history: History;
  readonly routing: Routing;
  /** By how much a member's clock may be too fast, in 1/1024. */
  readonly driftMax: number;
  readonly extend: () => void;
}

/** What came of one attempt. */
type Told<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'failed' | 'unknown'; readonly code: string };

interface Held {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
  /** What was put on it, and acknowledged. */
  readonly keys: string[];
  /** Before then, on the world's clock, it must not end unless its holder has asked for that. */
  soundUntilMs: number;
}

/**
 * Somebody who takes one lease after another, puts keys of several shards on it, keeps it alive for a while, revokes it or goes away. A
 * number is taken again when nothing that was asked of the lease before can still be on its way.
 */
export class LeaseHolder {
  readonly #parts: LeaseHolderParts;
  readonly #index: number;
  readonly #rng: Rng;
  readonly #hints = new Map<ShardId, SimMember>();
  #taken = 0;
  #issuing = true;
  idle = false;

  constructor(parts: LeaseHolderParts, index: number, rng: Rng) {
    this.#parts = parts;
    this.#index = index;
    this.#rng = rng;
  }

  start(): void {
    void this.#run();
  }

  /** Takes no more leases. */
  finish(): void {
    this.#issuing = false;
  }

  async #run(): Promise<void> {
    let number = 0;
    for (let isFree = false; this.#issuing; ) {
      if (!isFree) number += 1;
      isFree = await this.#hold(leaseId(BigInt(this.#index * 1_000_000 + number)));
      await this.#sleep(this.#rng.integer(0, PAUSE_MS_MAX));
    }
    this.idle = true;
  }

  /** True: the lease was granted and revoked at the first attempt. */
  async #hold(id: LeaseId): Promise<boolean> {
    this.#taken += 1;
    const ttlSeconds = this.#rng.integer(2, 4);
    const held: Held = { id, ttlSeconds, keys: [], soundUntilMs: 0 };
    const granted = await this.#grant(held);
    if (granted === undefined) return false;
    const keys = this.#rng.integer(1, 4);
    for (let i = 0; i < keys; i += 1) if (!(await this.#put(held, i))) return false;
    const rounds = this.#rng.integer(0, 4);
    for (let i = 0; i < rounds; i += 1) {
      await this.#sleep(this.#rng.integer(0, held.ttlSeconds * 600));
      this.#checkKeys(held);
      if (!(await this.#keepAlive(held))) return false;
    }
    this.#checkKeys(held);
    if (this.#rng.integer(0, 2) > 0) return false;
    return (await this.#revoke(held)) && granted === 'at once';
  }

  /** Undefined: it gave up. */
  async #grant(held: Held): Promise<'at once' | 'later' | undefined> {
    const { id, ttlSeconds } = held;
    const firstMs = this.#nowMs();
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const startMs = this.#nowMs();
      const told = await this.#ask(LEASE_HOME, ({ leases }, deadlineMs) =>
        leases.grant({ id, ttlSeconds }, deadlineMs),
      );
      const isThere = told.kind !== 'ok' && told.code === 'KV_LEASE_EXISTS';
      if (told.kind === 'ok' || isThere) {
        // An earlier attempt may be the one that came about.
        this.#renewed(held, isThere ? firstMs : startMs);
        this.#parts.checker.isBack(id);
        return attempt === 0 ? 'at once' : 'later';
      }
      if (!this.#issuing) return undefined;
      await this.#sleep(this.#rng.integer(0, PAUSE_MS_MAX));
    }
    return undefined;
  }

  /** What was put on a lease that nobody has revoked, and whose time is not over, is there. */
  #checkKeys({ id, keys, soundUntilMs }: Held): void {
    if (this.#nowMs() >= soundUntilMs) return;
    this.#parts.extend();
    this.#parts.checker.mustBeThere(id, keys);
  }

  async #put(held: Held, i: number): Promise<boolean> {
    const { history, routing } = this.#parts;
    const group = routing.groups[this.#rng.integer(0, routing.groups.length)] ?? shardId(0);
    const { id: lease } = held;
    const key = heldKey(group, lease, i);
    const client = `holder${this.#index}`;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const shard = routing.shardOf(group);
      const value = `lease${lease}.${this.#taken}.${i}.${attempt}`;
      const request = { op: 'put', key: utf8(key), value: utf8(value), lease } as const;
      const record = history.beginLeasePut({ client, shard: group, key, value, lease });
      const told = await this.#ask(shard, (replica, deadlineMs) =>
        submitted(replica, deadlineMs, request),
      );
      history.finishLeasePut(record, outcomeOf(told));
      if (told.kind === 'ok') {
        held.keys.push(key);
        return true;
      }
      if (told.code === 'KV_LEASE_NOT_FOUND') {
        this.#mayHaveEnded(held, `put in shard ${shard}`);
        return false;
      }
      if (told.code === 'KV_WRONG_SHARD') routing.refresh();
      await this.#sleep(this.#rng.integer(0, PAUSE_MS_MAX));
    }
    return true;
  }

  async #keepAlive(held: Held): Promise<boolean> {
    const startMs = this.#nowMs();
    const told = await this.#ask(LEASE_HOME, ({ leases }, deadlineMs) =>
      leases.keepAlive(held.id, deadlineMs),
    );
    if (told.kind !== 'ok') return true;
    if (told.value.ttlSeconds === 0) {
      this.#mayHaveEnded(held, 'keep-alive');
      return false;
    }
    this.#renewed(held, startMs);
    return true;
  }

  /** True: at the first attempt. */
  async #revoke(held: Held): Promise<boolean> {
    const { checker, extend } = this.#parts;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const told = await this.#ask(LEASE_HOME, ({ leases }, deadlineMs) =>
        leases.revoke(held.id, deadlineMs),
      );
      const isGone = told.kind !== 'ok' && told.code === 'KV_LEASE_NOT_FOUND';
      if (isGone && attempt === 0) this.#mayHaveEnded(held, 'revoke');
      if (told.kind === 'ok' || isGone) {
        extend();
        checker.mustBeGone(held.id);
        return attempt === 0;
      }
      await this.#sleep(this.#rng.integer(0, PAUSE_MS_MAX));
    }
    return false;
  }

  #renewed(held: Held, sinceMs: number): void {
    const ttlMs = (held.ttlSeconds * 1000) / (1 + this.#parts.driftMax / DRIFT_UNIT);
    held.soundUntilMs = Math.max(held.soundUntilMs, sinceMs + ttlMs - ROUNDING_MS);
  }

  #mayHaveEnded({ id, soundUntilMs }: Held, by: string): void {
    const nowMs = this.#nowMs();
    if (nowMs >= soundUntilMs) return;
    const text = `lease ${id} is gone at ${nowMs} (${by}), and was to live until ${soundUntilMs}`;
    this.#parts.problems.add('lease-cut-short', text);
  }

  #nowMs(): number {
    return this.#parts.world.clock.nowMs();
  }

  /** One request over a link that delays and loses, to a member that may be down, paused or gone before it answers. */
  #ask<T>(
    shard: ShardId,
    act: (replica: Replica, deadlineMs: number) => Promise<T>,
  ): Promise<Told<T>> {
    const { clock } = this.#parts.world;
    const member = this.#choose(shard);
    const timeoutMs = TIMEOUTS_MS[this.#rng.integer(0, TIMEOUTS_MS.length)] ?? TIMEOUTS_MS[0];
    return new Promise((resolve) => {
      const cancel = clock.setTimer(timeoutMs + 500, () => {
        // Who does not answer is not the first to be asked again: it may be cut off for good.
        this.#hints.delete(shard);
        resolve({ kind: 'unknown', code: 'client timeout' });
      });
      const tell = (told: Told<T>): void => {
        this.#travel(() => {
          cancel();
          if (told.kind === 'ok') this.#hints.set(shard, member);
          else this.#hints.delete(shard);
          resolve(told);
        });
      };
      this.#travel(() => {
        const { life } = member;
        const isTaken = member.call(shard, (replica) => {
          act(replica, member.nowMs() + timeoutMs).then(
            (value) => {
              if (member.life === life) tell({ kind: 'ok', value });
            },
            (error: unknown) => {
              if (!isKvError(error)) throw error;
              const kind = error.outcome === 'not-applied' ? 'failed' : 'unknown';
              if (member.life === life) tell({ kind, code: error.code });
            },
          );
        });
        if (!isTaken) tell({ kind: 'failed', code: 'connection refused' });
      });
    });
  }

  #travel(arrive: () => void): void {
    if (this.#rng.integer(0, 1000) < LOST_PER_MILLE) return;
    this.#parts.world.clock.setTimer(this.#rng.integer(0, LINK_MS_MAX + 1), arrive);
  }

  #choose(shard: ShardId): SimMember {
    const { members } = this.#parts.world;
    const hint = this.#hints.get(shard);
    if (hint !== undefined && this.#rng.integer(0, 10) > 0) return hint;
    return members[this.#rng.integer(0, members.length)] as SimMember;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.world.clock.setTimer(ms, resolve);
    });
  }
}

function submitted(
  replica: Replica,
  deadlineMs: number,
  request: Parameters<Replica['submit']>[0]['request'],
): Promise<number> {
  return new Promise((resolve, reject) => {
    replica.submit({
      request,
      session: undefined,
      deadlineMs,
      bytes: 64,
      done: (result) => {
        if (result.ok) resolve(result.response.revision);
        else reject(result.error);
      },
    });
  });
}

function outcomeOf(told: Told<number>): LeasePut['outcome'] {
  return told.kind === 'ok' ? { kind: 'ok', revision: told.value } : told;
}
