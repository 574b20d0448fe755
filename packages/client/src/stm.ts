import {
  type Compare,
  isKvError,
  KvError,
  NO_LEASE,
  type Revision,
  type TxnOp,
  toHex,
} from '@kvorum/base';
import type { TxnResult } from './answer.ts';
import { Backoff } from './backoff.ts';
import { Entry } from './entry.ts';
import { type Bytes, toBytes } from './key-range.ts';
import { idOfLease, type LeaseRef } from './lease-ref.ts';
import { CALL_OPTIONS, type CallOptions, checkOptions } from './options.ts';
import { aborted, pauseFor } from './question.ts';
import type { RangeResult } from './range-merge.ts';
import type { GetOptions } from './request-options.ts';
import { compare, op, type TxnInit } from './txn.ts';
import { firstEntry } from './waiting-line.ts';

const ATTEMPTS = 32;
const STM_OPTIONS = [...CALL_OPTIONS, 'attemptsMax'];
const PUT_OPTIONS = ['lease'];

export interface StmOptions extends CallOptions {
  /** How often the work is done anew at the most because others changed its keys; default 32. */
  readonly attemptsMax?: number | undefined;
}

/** What a software transaction needs of its client. */
export interface StmParts {
  readonly range: (key: Uint8Array, options: GetOptions) => Promise<RangeResult>;
  readonly txn: (init: TxnInit, options: CallOptions) => Promise<TxnResult>;
  /** Why these keys cannot be in one transaction: KV_CROSS_SHARD. */
  readonly refusal: (keys: readonly Uint8Array[]) => KvError | undefined;
  readonly nowMs: () => number;
  readonly deadlineOf: (options: CallOptions) => number;
}

interface Write {
  readonly key: Uint8Array;
  readonly operation: TxnOp;
  /** As the transaction itself reads it. */
  readonly entry: Entry | undefined;
}

/** What was read of the shard at one revision. */
interface Snapshot {
  readonly revision: number;
  readonly entries: ReadonlyMap<string, Entry | undefined>;
}

/** These tell that a revision cannot be read any more, or nowhere: another attempt reads at a newer one. */
const STALE: readonly string[] = ['KV_COMPACTED', 'KV_FUTURE_REVISION'];

/** One attempt of a software transaction: what it reads is of one revision, and what it writes is applied at its end, or not at all. */
export class StmTxn {
  readonly #parts: StmParts;
  readonly #options: () => CallOptions;
  readonly #reads = new Map<
    string,
    { readonly key: Uint8Array; readonly entry: Promise<Entry | undefined> }
  >();
  readonly #writes = new Map<string, Write>();
  readonly #known: ReadonlyMap<string, Entry | undefined>;
  #revision: Promise<number> | undefined;
  #isStale = false;
  #isOver = false;

  /** @internal */
  constructor(parts: StmParts, options: () => CallOptions, known: Snapshot | undefined) {
    this.#parts = parts;
    this.#options = options;
    this.#known = known?.entries ?? new Map();
    this.#revision = known === undefined ? undefined : Promise.resolve(known.revision);
  }

  /**
   * A key as of the revision of the first reading, or as this transaction has put it, with revisions and version 0 then; undefined
   * when there is none. Errors: KV_CROSS_SHARD when it lies in another shard than the keys before.
   */
  async get(key: Bytes): Promise<Entry | undefined> {
    const bytes = this.#use(key);
    const name = toHex(bytes);
    const written = this.#writes.get(name);
    if (written !== undefined) return written.entry;
    const known = this.#reads.get(name);
    if (known !== undefined) return known.entry;
    const entry = this.#read(name, bytes);
    this.#reads.set(name, { key: bytes, entry });
    return entry;
  }

  /** Puts a key at the end. Errors: KV_CROSS_SHARD. */
  put(key: Bytes, value: Bytes, options: { readonly lease?: LeaseRef | undefined } = {}): void {
    checkOptions(options, PUT_OPTIONS);
    const bytes = this.#use(key);
    const lease = options.lease === undefined ? NO_LEASE : idOfLease(options.lease);
    const none = 0 as Revision;
    const entry = new Entry({
      ...{ key: bytes, value: toBytes(value), lease },
      ...{ createRevision: none, modRevision: none, version: 0 },
    });
    const operation = op.put(bytes, value, lease === NO_LEASE ? {} : { lease });
    this.#writes.set(toHex(bytes), { key: bytes, operation, entry });
  }

  /** Deletes a key at the end. Errors: KV_CROSS_SHARD. */
  delete(key: Bytes): void {
    const bytes = this.#use(key);
    const write = { key: bytes, operation: op.delete(bytes), entry: undefined };
    this.#writes.set(toHex(bytes), write);
  }

  /** @internal Whether a reading has failed in a way that another attempt may not. */
  get isStale(): boolean {
    return this.#isStale;
  }

  /** @internal Nothing can be added any more. */
  end(): void {
    this.#isOver = true;
  }

  /** @internal Undefined when it was applied; else the keys that it has read, as they are now. */
  async commit(): Promise<Snapshot | undefined> {
    if (this.#writes.size === 0) return undefined;
    const reads = await this.#readSet();
    const revision = await this.#revision;
    const unread = [...this.#writes].filter(([name]) => !reads.has(name));
    const untouched = ({ key }: Write): Compare[] =>
      revision === undefined ? [] : [compare(key, 'mod', '<', revision + 1)];
    const result = await this.#parts.txn(
      {
        compare: [
          ...[...reads.values()].map(({ key, mod }) => compare(key, 'mod', '=', mod)),
          ...unread.flatMap(([, write]) => untouched(write)),
        ],
        success: [...this.#writes.values()].map(({ operation }) => operation),
        failure: [...reads.values()].map(({ key }) => op.get(key)),
      },
      this.#options(),
    );
    if (result.succeeded) return undefined;
    const names = [...reads.keys()];
    const now = result.responses.map((response) => firstEntry(response));
    const entries = new Map(names.map((name, at) => [name, now[at]] as const));
    return { revision: result.revision, entries };
  }

  async #readSet(): Promise<
    ReadonlyMap<string, { readonly key: Uint8Array; readonly mod: number }>
  > {
    const set = new Map<string, { readonly key: Uint8Array; readonly mod: number }>();
    for (const [name, { key, entry }] of this.#reads) {
      set.set(name, { key, mod: (await entry)?.modRevision ?? 0 });
    }
    return set;
  }

  #use(key: Bytes): Uint8Array {
    if (this.#isOver) {
      throw new KvError('KV_INVALID_ARGUMENT', 'the transaction is over: await what is done in it');
    }
    const bytes = toBytes(key);
    if (bytes.length === 0) throw new KvError('KV_EMPTY_KEY');
    const name = toHex(bytes);
    if (this.#reads.has(name) || this.#writes.has(name)) return bytes;
    const others = [...this.#reads.values(), ...this.#writes.values()].map((one) => one.key);
    const refusal = this.#parts.refusal([...others, bytes]);
    if (refusal !== undefined) throw refusal;
    return bytes;
  }

  async #read(name: string, key: Uint8Array): Promise<Entry | undefined> {
    if (this.#known.has(name)) return this.#known.get(name);
    try {
      if (this.#revision !== undefined) return await this.#readAt(key, await this.#revision);
      // The first reading says of which revision all of them are.
      const first = this.#parts.range(key, this.#options());
      this.#revision = first.then(({ shards }) => shards[0]?.revision ?? 0);
      this.#revision.catch(() => {}); // seen below
      return (await first).entries[0];
    } catch (error) {
      if (isKvError(error) && STALE.includes(error.code)) this.#isStale = true;
      throw error;
    }
  }

  async #readAt(key: Uint8Array, revision: number): Promise<Entry | undefined> {
    return (await this.#parts.range(key, { ...this.#options(), revision })).entries[0];
  }
}

/** What came of one attempt: its result, or with what to begin the next one. */
type Attempt<T> =
  | { readonly isDone: true; readonly result: T }
  | { readonly isDone: false; readonly snapshot: Snapshot | undefined };

async function attempt<T>(txn: StmTxn, work: (txn: StmTxn) => T | Promise<T>): Promise<Attempt<T>> {
  let result: T;
  try {
    result = await work(txn);
  } catch (error) {
    if (txn.isStale) return { isDone: false, snapshot: undefined };
    throw error;
  } finally {
    txn.end();
  }
  if (txn.isStale) return { isDone: false, snapshot: undefined };
  const snapshot = await txn.commit();
  return snapshot === undefined ? { isDone: true, result } : { isDone: false, snapshot };
}

/**
 * Software transactional memory: does the work, and applies what it wrote if nothing that it read or wrote has changed meanwhile; else
 * does it anew. Serializable, and of one shard.
 *
 * Errors: those of the work, and nothing is written; KV_CONFLICT after `attemptsMax`; KV_CROSS_SHARD; KV_TIMEOUT of unknown outcome.
 */
export async function runStm<T>(
  parts: StmParts,
  work: (txn: StmTxn) => T | Promise<T>,
  options: StmOptions,
): Promise<T> {
  checkOptions(options, STM_OPTIONS);
  const { signal, attemptsMax = ATTEMPTS } = options;
  if (!Number.isSafeInteger(attemptsMax) || attemptsMax < 1) {
    throw new KvError('KV_INVALID_ARGUMENT', 'attemptsMax must be a whole number of at least 1');
  }
  const deadlineMs = parts.deadlineOf(options);
  const left = (): CallOptions => ({
    signal,
    timeoutMs: Math.max(0, deadlineMs - parts.nowMs()),
  });
  const backoff = new Backoff(2, 200);
  let snapshot: Snapshot | undefined;
  for (let attempts = 1; ; attempts += 1) {
    if (signal?.aborted === true) throw aborted(signal);
    const done = await attempt(new StmTxn(parts, left, snapshot), work);
    if (done.isDone) return done.result;
    ({ snapshot } = done);
    const pauseMs = backoff.next();
    if (attempts >= attemptsMax || parts.nowMs() + pauseMs >= deadlineMs) {
      const hint = 'try later, or let fewer programs change the same keys';
      const details = { actual: attempts, limit: attemptsMax, hint };
      throw new KvError('KV_CONFLICT', `after ${attempts} attempts`, { details });
    }
    await pauseFor(pauseMs, signal);
  }
}
