import {
  KvError,
  type Limits,
  type LogIndex,
  type RangeRequest,
  type TxnRequest,
} from '@kvorum/base';
import type { CommandResult, GetResult } from './api.ts';

export interface PendingGet {
  readonly key: Uint8Array;
  readonly deadlineMs: number;
  readonly done: (result: GetResult) => void;
}

export interface PendingRead {
  readonly request: RangeRequest | TxnRequest;
  readonly deadlineMs: number;
  readonly mapVersion: number | undefined;
  readonly done: (result: CommandResult) => void;
}

/** Reads that arrived in one turn of the event loop and share one read index. */
export interface ReadGroup {
  gets: PendingGet[];
  reads: PendingRead[];
  /** Waiters that only need proof that this replica's applied state is current. */
  barriers: { readonly deadlineMs: number; readonly done: (error: KvError | undefined) => void }[];
}

export function emptyGroup(): ReadGroup {
  return { gets: [], reads: [], barriers: [] };
}

export interface ReadPathHost {
  /** Asks the core for an index; answered by `ready` or `failed` with the same id. */
  readonly ask: (readId: number) => void;
  /** Runs the callback once everything up to `index` is applied. */
  readonly whenApplied: (index: LogIndex, run: () => void) => void;
  /** Answers the group's reads, taking each out of the group with its answer. */
  readonly serve: (group: ReadGroup) => Promise<void>;
  /** Reading the store failed: the shard must stop. */
  readonly broken: (error: unknown) => void;
}

/** What a linearizable read that could not be served in time says: it changed nothing. */
export function readTimeout(): KvError {
  return new KvError('KV_TIMEOUT', 'no read index was confirmed in time', {
    outcome: 'not-applied',
  });
}

/**
 * The linearizable read path: groups reads, asks for a confirmed index *after* they arrived (a group is closed before
 * it asks, so no read ever rides on a round that started earlier), waits until it is applied, serves.
 */
export class ReadPath {
  readonly #host: ReadPathHost;
  readonly #limits: Limits;
  readonly #waiting = new Map<number, ReadGroup>();
  /** Of those, how many reads count for the bound on what waits. */
  readonly #serving = new Map<ReadGroup, number>();
  #open: ReadGroup | undefined;
  #nextId = 1;
  #count = 0;

  constructor(host: ReadPathHost, limits: Limits) {
    this.#host = host;
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  get(read: PendingGet): void {
    if (this.#full()) read.done({ ok: false, error: this.#tooMany() });
    else this.#group().gets.push(read);
  }

  read(read: PendingRead): void {
    if (this.#full()) read.done({ ok: false, error: this.#tooMany() });
    else this.#group().reads.push(read);
  }

  /** Resolves `done` once the applied state is proven current as of this call. Not bounded: one a sealed batch. */
  barrier(deadlineMs: number, done: (error: KvError | undefined) => void): void {
    this.#count += 1;
    this.#group().barriers.push({ deadlineMs, done });
  }

  /** {@link barrier} as a promise. */
  current(deadlineMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.barrier(deadlineMs, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  /**
   * A read may be served: its index is confirmed. What is applied may have passed that index meanwhile; nothing is applied before
   * its leader is known to have accepted it (the core holds it back), so a later read at the leader shows it as well.
   */
  ready(readId: number, index: LogIndex): void {
    const group = this.#waiting.get(readId);
    if (group === undefined) return;
    this.#host.whenApplied(index, () => {
      if (!this.#waiting.delete(readId)) return;
      this.#serve(group, size(group));
    });
  }

  /** Serves from what is applied; without a confirmed index before it that is what a serializable read asks for. */
  serveNow(group: ReadGroup): void {
    this.#serve(group, 0);
  }

  #serve(group: ReadGroup, counted: number): void {
    this.#serving.set(group, counted);
    this.#host
      .serve(group)
      .catch((error: unknown) => {
        failGroup(
          group,
          () => new KvError('KV_UNAVAILABLE', 'the store cannot be read', { cause: error }),
        );
        this.#host.broken(error);
      })
      .finally(() => {
        this.#count -= this.#serving.get(group) ?? 0;
        this.#serving.delete(group);
      });
  }

  failed(readId: number): void {
    const group = this.#waiting.get(readId);
    if (group === undefined) return;
    this.#waiting.delete(readId);
    this.#count -= size(group);
    failGroup(group, () => new KvError('KV_NO_LEADER'));
  }

  failAll(error: () => KvError): void {
    const groups = [...this.#waiting.values(), ...this.#serving.keys()];
    if (this.#open !== undefined) groups.push(this.#open);
    this.#open = undefined;
    this.#waiting.clear();
    this.#serving.clear();
    this.#count = 0;
    for (const group of groups) failGroup(group, error);
  }

  /** Answers what has passed its deadline. */
  expire(nowMs: number): void {
    for (const group of this.#waiting.values()) {
      if (!hasExpired(group, nowMs)) continue;
      const expired: ReadGroup = {
        gets: group.gets.filter((read) => read.deadlineMs <= nowMs),
        reads: group.reads.filter((read) => read.deadlineMs <= nowMs),
        barriers: group.barriers.filter((read) => read.deadlineMs <= nowMs),
      };
      group.gets = group.gets.filter((read) => read.deadlineMs > nowMs);
      group.reads = group.reads.filter((read) => read.deadlineMs > nowMs);
      group.barriers = group.barriers.filter((read) => read.deadlineMs > nowMs);
      this.#count -= size(expired);
      failGroup(expired, readTimeout);
    }
  }

  #full(): boolean {
    if (this.#count >= this.#limits.readQueueMax) return true;
    this.#count += 1;
    return false;
  }

  #tooMany(): KvError {
    return new KvError('KV_TOO_MANY_REQUESTS', 'the read queue of this shard is full', {
      details: { limit: this.#limits.readQueueMax },
    });
  }

  #group(): ReadGroup {
    if (this.#open === undefined) {
      this.#open = emptyGroup();
      queueMicrotask(() => this.#close());
    }
    return this.#open;
  }

  #close(): void {
    const group = this.#open;
    if (group === undefined) return;
    this.#open = undefined;
    const readId = this.#nextId;
    this.#nextId += 1;
    this.#waiting.set(readId, group);
    this.#host.ask(readId);
  }
}

function hasExpired({ gets, reads, barriers }: ReadGroup, nowMs: number): boolean {
  const expired = (read: { readonly deadlineMs: number }): boolean => read.deadlineMs <= nowMs;
  return gets.some(expired) || reads.some(expired) || barriers.some(expired);
}

function size(group: ReadGroup): number {
  return group.gets.length + group.reads.length + group.barriers.length;
}

function failGroup(group: ReadGroup, error: () => KvError): void {
  for (const read of group.gets.splice(0)) read.done({ ok: false, error: error() });
  for (const read of group.reads.splice(0)) read.done({ ok: false, error: error() });
  for (const read of group.barriers.splice(0)) read.done(error());
}
