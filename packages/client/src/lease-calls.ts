import { randomBytes } from 'node:crypto';
import { type ErrorCode, isKvError, KvError, type LeaseId } from '@kvorum/base';
import { LEASE_HOME } from '@kvorum/shard';
import {
  type LeaseGranted,
  type LeaseKeptAlive,
  type LeaseList,
  type LeaseTimeInfo,
  parseLeaseGranted,
  parseLeaseKeptAlive,
  parseLeaseList,
  parseLeaseRevoked,
  parseLeaseTimeInfo,
} from '@kvorum/wire';
import { Backoff } from './backoff.ts';
import { type Connection, isNotLetIn } from './connection.ts';
import type { Control } from './control.ts';
import type { Dispatcher } from './dispatcher.ts';
import { ask, pauseFor, type Question, withOutcome } from './question.ts';

/** A reading is asked of another member when the first has not answered for so long. */
const ATTEMPT_MS = 2500;
/** The member's own time is up a little before its client's, so that its word of why arrives. */
const MARGIN_MS = 100;

const WRITE = { isWrite: true } as const;

/** Until when, and how patiently, a request is repeated. */
export interface Until {
  /** On the dispatcher's clock. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Patience with one member, milliseconds. */
  readonly attemptMs?: number;
}

/** An answer, and when the request was sent that got it: nothing that it tells of happened before. */
export interface Answered<T> {
  readonly value: T;
  readonly sentMs: number;
}

/**
 * Requests about leases, to the leader of their home or to whoever answers and forwards. What reads is repeated until the deadline; what
 * changes something only while it certainly has not been done, or when that can be found out.
 */
export class LeaseCalls {
  readonly #dispatcher: Dispatcher;
  readonly #control: Control;

  constructor(dispatcher: Dispatcher, control: Control) {
    this.#dispatcher = dispatcher;
    this.#control = control;
  }

  /**
   * Grants a lease. Without `id` this client chooses one at random, so that an answer that was lost can be told from a lease of somebody
   * else, and nothing is left in doubt while the cluster answers.
   *
   * Errors: KV_LEASE_EXISTS, KV_LEASE_TTL_TOO_LARGE, …
   */
  async grant(
    wanted: { readonly id: LeaseId | undefined; readonly ttlSeconds: number },
    until: Until,
  ): Promise<Answered<LeaseGranted>> {
    const { ttlSeconds } = wanted;
    const id = wanted.id ?? freshId();
    const params = { id, ttlSeconds };
    const question = { ...WRITE, method: 'leaseGrant', params, parse: parseLeaseGranted } as const;
    if (wanted.id !== undefined) return this.#ask(question, until);
    const isDone = 'KV_LEASE_EXISTS';
    return (await this.#repeat(question, until, isDone)) ?? (await this.#found(id, until));
  }

  /** An attempt without an answer had granted it. */
  async #found(id: LeaseId, until: Until): Promise<Answered<LeaseGranted>> {
    const { value, sentMs } = await this.keepAlive(id, until);
    const { ttlSeconds, revision } = value;
    if (ttlSeconds > 0) return { value: { id, ttlSeconds, revision }, sentMs };
    throw new KvError('KV_LEASE_LOST', 'it was granted, and ended before that was known');
  }

  /**
   * Ends a lease, and deletes its keys in every shard. Repeated when no answer came, since a lease cannot end twice.
   *
   * Errors: KV_LEASE_NOT_FOUND.
   */
  async revoke(id: LeaseId, until: Until): Promise<void> {
    const params = { id };
    const question = { ...WRITE, method: 'leaseRevoke', params, parse: parseLeaseRevoked } as const;
    await this.#repeat(question, until, 'KV_LEASE_NOT_FOUND');
  }

  /** Gives a lease its whole time again; `ttlSeconds` 0 = there is none. */
  keepAlive(id: LeaseId, until: Until): Promise<Answered<LeaseKeptAlive>> {
    const params = { id };
    return this.#ask({ method: 'leaseKeepAlive', params, parse: parseLeaseKeptAlive }, until);
  }

  async timeToLive(id: LeaseId, keys: boolean, until: Until): Promise<LeaseTimeInfo> {
    const params = { id, keys };
    const question = { method: 'leaseTimeToLive', params, parse: parseLeaseTimeInfo } as const;
    return (await this.#ask(question, until)).value;
  }

  async list(until: Until): Promise<LeaseList> {
    return (await this.#ask({ method: 'leases', params: {}, parse: parseLeaseList }, until)).value;
  }

  /**
   * Asks again while nobody knows whether it was done; undefined when it turns out that an attempt without an answer did it, which
   * `isDone` tells of. Errors: of unknown outcome once an attempt has had no answer.
   */
  async #repeat<T>(
    question: Question<T> & { readonly params: object },
    until: Until,
    isDone: ErrorCode,
  ): Promise<Answered<T> | undefined> {
    for (let isRepeated = false; ; isRepeated = true) {
      try {
        return await this.#ask(question, until);
      } catch (error) {
        if (!isKvError(error)) throw error;
        if (isRepeated && error.code === isDone) return undefined;
        this.#checkRepeated(error, until, isRepeated);
      }
      await pauseFor(MARGIN_MS, undefined);
    }
  }

  /** Throws what the caller is told, unless another attempt can bring more. */
  #checkRepeated(error: KvError, until: Until, isRepeated: boolean): void {
    const isOver = this.#dispatcher.now >= until.deadlineMs || until.signal?.aborted === true;
    if (error.outcome === 'unknown' && !isOver) return;
    throw isRepeated ? withOutcome(error, 'unknown') : error;
  }

  async #ask<T>(
    question: Question<T> & { readonly params: object },
    until: Until,
  ): Promise<Answered<T>> {
    const { signal } = until;
    const backoff = new Backoff(10, 400);
    let avoided: string | undefined;
    let last: KvError | undefined;
    for (;;) {
      const leftMs = until.deadlineMs - this.#dispatcher.now;
      if (this.#dispatcher.closed) {
        throw new KvError('KV_CANCELLED', 'the client is closed', { outcome: 'not-applied' });
      }
      if (leftMs <= 0) throw last ?? new KvError('KV_DEADLINE');
      const connection = await this.#connection(avoided, { signal, timeoutMs: leftMs });
      const sentMs = this.#dispatcher.now;
      const patienceMs = question.isWrite === true ? leftMs : (until.attemptMs ?? ATTEMPT_MS);
      const timeoutMs = Math.ceil(Math.min(leftMs, patienceMs));
      const asked = { ...question, params: { ...question.params, timeoutMs } };
      try {
        const patience = { timeoutMs: timeoutMs + MARGIN_MS, signal };
        return { value: await ask(this.#dispatcher, connection, asked, patience), sentMs };
      } catch (error) {
        if (!isKvError(error) || !isWorthAnother(question, error)) throw error;
        last = error;
        avoided = connection.memberId;
      }
      await pauseFor(backoff.next(), signal);
    }
  }

  async #connection(
    avoided: string | undefined,
    patience: { readonly signal: AbortSignal | undefined; readonly timeoutMs: number },
  ): Promise<Connection> {
    const { pool } = this.#dispatcher;
    return pool.connectionBesides(LEASE_HOME, avoided) ?? (await this.#control.connected(patience));
  }
}

function isWorthAnother({ isWrite = false }: Question<unknown>, error: KvError): boolean {
  if (isWrite && error.outcome === 'unknown') return false;
  const { retry } = error;
  const mayHelp = retry === 'backoff' || retry === 'other-member' || retry === 'read-back';
  // Authorization has changed under the connection: the next one logs in.
  return mayHelp || (!isWrite && isNotLetIn(error));
}

/** 63 random bits, and never 0. */
function freshId(): LeaseId {
  const id = BigInt.asUintN(63, randomBytes(8).readBigUInt64BE());
  return (id === 0n ? 1n : id) as LeaseId;
}
