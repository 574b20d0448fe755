import { EMPTY_BYTES, type KvError, type KvRequest } from '@kvorum/base';
import { OP, type RequestItem, type ResponseItem } from '@kvorum/wire';
import {
  entryOf,
  type KvResult,
  kvResultOf,
  MalformedAnswer,
  type PutResult,
  revisionOf,
} from './answer.ts';
import type { Connection } from './connection.ts';
import type { Entry } from './entry.ts';

export type CallState = 'waiting' | 'sent' | 'done';

/**
 * One operation from the caller's promise to its answer, across all its attempts. No timers and no
 * listeners of its own: the dispatcher sweeps deadlines.
 */
export abstract class Call {
  /** Changes the store, so a lost answer leaves its outcome unknown. */
  readonly write: boolean;
  readonly deadlineMs: number;
  /**
   * Until when a session write may be sent: later the servers may have forgotten that they know it.
   * Set by the first attempt that may have been applied.
   */
  resendUntilMs: number = Number.POSITIVE_INFINITY;
  readonly bytes: number;
  state: CallState = 'waiting';
  /** The shard it goes to; changes only when a newer shard map says so. */
  shard = '';
  /** Version of the map that gave it this shard; 0 = none yet. */
  mapVersion = 0;
  /** The caller named the shard (one part of a fan-out): it goes there or nowhere. */
  pinned = false;
  /** Session sequence; 0 = none, or not sent yet. */
  seq = 0;
  /** Id of the attempt under way on `connection`. */
  id = 0;
  connection: Connection | undefined = undefined;
  /** An attempt was sent and never answered: it may have been applied. */
  maybeApplied = false;
  /** Why the latest attempt failed, for the error at the deadline. */
  lastError: KvError | undefined = undefined;
  signal: AbortSignal | undefined = undefined;
  onAbort: (() => void) | undefined = undefined;

  constructor(write: boolean, deadlineMs: number, bytes: number) {
    this.write = write;
    this.deadlineMs = deadlineMs;
    this.bytes = bytes;
  }

  /** When the caller is told, whatever is known then. */
  get endMs(): number {
    return Math.min(this.deadlineMs, this.resendUntilMs);
  }

  /** As it goes into a request frame. */
  abstract item(id: number): RequestItem;
  /** Resolves the caller's promise. Throws {@link MalformedAnswer} when the answer is not one. */
  abstract succeed(item: ResponseItem): void;
  /** Rejects the caller's promise. */
  abstract fail(error: KvError): void;
  /**
   * The smallest key it touches, which decides its shard, and the request when it is more than that
   * key.
   */
  abstract readonly key: Uint8Array;
  abstract readonly request: KvRequest | undefined;
}

/** The caller's promise. */
export interface Settler<T> {
  readonly resolve: (result: T) => void;
  readonly reject: (error: KvError) => void;
}

export class PutCall extends Call {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly request: undefined = undefined;
  readonly #settler: Settler<PutResult>;

  constructor(key: Uint8Array, value: Uint8Array, deadlineMs: number, settler: Settler<PutResult>) {
    super(true, deadlineMs, key.length + value.length);
    this.key = key;
    this.value = value;
    this.#settler = settler;
  }

  item(id: number): RequestItem {
    return [id, OP.put, this.seq, this.maybeApplied, this.key, this.value];
  }

  succeed(item: ResponseItem): void {
    if (item[1] === 0) {
      this.#settler.resolve({ op: 'put', revision: revisionOf(item[2]), shard: this.shard });
      return;
    }
    const result = kvResultOf(item[2], this.shard);
    if (result.op !== 'put') throw new MalformedAnswer(`a put was answered as ${result.op}`);
    this.#settler.resolve(result);
  }

  fail(error: KvError): void {
    this.#settler.reject(error);
  }
}

/** The newest value of one key. */
export class GetCall extends Call {
  readonly key: Uint8Array;
  readonly request: undefined = undefined;
  readonly #settler: Settler<Entry | undefined>;

  constructor(key: Uint8Array, deadlineMs: number, settler: Settler<Entry | undefined>) {
    super(false, deadlineMs, key.length);
    this.key = key;
    this.#settler = settler;
  }

  item(id: number): RequestItem {
    return [id, OP.get, this.key];
  }

  succeed(item: ResponseItem): void {
    if (item[1] !== 0) {
      const result = kvResultOf(item[2], this.shard);
      if (result.op !== 'range') throw new MalformedAnswer(`a get was answered as ${result.op}`);
      this.#settler.resolve(result.entries[0]);
      return;
    }
    // An absent key is [id, 0, null], or has a revision and nothing after it.
    this.#settler.resolve(item.length <= 3 ? undefined : entryOf(this.key, item, 3));
  }

  fail(error: KvError): void {
    this.#settler.reject(error);
  }
}

/** Everything else. */
export class RequestCall extends Call {
  readonly key: Uint8Array;
  readonly request: KvRequest;
  readonly #settler: Settler<KvResult>;

  constructor(request: KvRequest, deadlineMs: number, settler: Settler<KvResult>) {
    super(!isReadOnly(request), deadlineMs, requestBytes(request));
    this.request = request;
    this.key = request.op === 'compact' || request.op === 'txn' ? EMPTY_BYTES : request.key;
    this.#settler = settler;
  }

  item(id: number): RequestItem {
    return [id, OP.request, this.seq, this.maybeApplied, this.request];
  }

  succeed(item: ResponseItem): void {
    if (item[1] !== 1) throw new MalformedAnswer('a request needs a whole response');
    const result = kvResultOf(item[2], this.shard);
    if (result.op !== this.request.op) {
      throw new MalformedAnswer(`a ${this.request.op} was answered as ${result.op}`);
    }
    this.#settler.resolve(result);
  }

  fail(error: KvError): void {
    this.#settler.reject(error);
  }
}

/**
 * Whether a request changes nothing: a range, or a txn of ranges only in both branches (a nested
 * txn counts as a write).
 */
export function isReadOnly(request: KvRequest): boolean {
  if (request.op === 'range') return true;
  if (request.op !== 'txn') return false;
  return [...request.success, ...request.failure].every((op) => op.op === 'range');
}

/** About how many bytes a request takes in a frame. */
export function requestBytes(request: KvRequest): number {
  switch (request.op) {
    case 'put':
      return request.key.length + request.value.length + 32;
    case 'txn': {
      let total = 32;
      for (const compare of request.compare) {
        total += compare.key.length + 32;
        if (compare.target === 'value') total += compare.value.length;
      }
      for (const op of request.success) total += requestBytes(op);
      for (const op of request.failure) total += requestBytes(op);
      return total;
    }
    case 'compact':
      return 32;
    default:
      return request.key.length + (request.rangeEnd?.length ?? 0) + 64;
  }
}
