import type { LeaseId, ShardId } from '@kvorum/base';

/** One operation of a client. Values are unique over the whole run, so a value names the operation that wrote it. */
export type Op =
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string }
  /** Two puts in one txn. */
  | { readonly kind: 'pair'; readonly keys: readonly [string, string]; readonly value: string }
  /** Puts `value` if the key holds `expected` (undefined = does not exist); else reads the key. */
  | {
      readonly kind: 'swap';
      readonly key: string;
      readonly expected: string | undefined;
      readonly value: string;
    }
  | { readonly kind: 'get'; readonly key: string }
  /** All keys of the shard, linearizable or from whatever the member has applied. */
  | { readonly kind: 'list'; readonly stale: boolean }
  /** One key as it was at an older revision. */
  | { readonly kind: 'past'; readonly key: string; readonly revision: number }
  | { readonly kind: 'compact'; readonly revision: number };

/** Keys as found by a read: key → `value@modRevision`. */
export type Found = ReadonlyMap<string, string>;

/** What the client was told in the end. `failed`: certainly not applied. */
export type Outcome =
  | {
      readonly kind: 'ok';
      /** The write's own revision, or the store's at the read. */
      readonly revision: number;
      /** Of a swap: whether it was made. Of a delete: whether there was something to delete. */
      readonly changed: boolean;
      readonly found: Found;
    }
  | { readonly kind: 'failed' | 'unknown'; readonly code: string };

/** `start` and `end` count the events of the history: one order over all clients, without ties. */
export interface OpRecord {
  readonly id: number;
  readonly client: string;
  readonly shard: ShardId;
  readonly op: Op;
  readonly start: number;
  readonly startMs: number;
  end: number | undefined;
  outcome: Outcome | undefined;
}

/** One change as a watcher saw it. */
export interface SeenEvent {
  readonly revision: number;
  readonly key: string;
  /** Undefined = deleted. */
  readonly value: string | undefined;
  /** Value before; only of watchers that asked for it. */
  readonly previous: string | undefined;
}

/** What one watcher saw over all its connections. */
export interface WatchRecord {
  readonly name: string;
  readonly shard: ShardId;
  /** Undefined = every key. */
  readonly key: string | undefined;
  readonly withPrevious: boolean;
  readonly seen: SeenEvent[];
  /** When it was shown which revision; times as in {@link OpRecord}. */
  readonly shown: (readonly [at: number, revision: number])[];
  /** Ranges of revisions, both inclusive, that it never asked for: skipped by a compaction. */
  readonly skipped: (readonly [from: number, to: number])[];
  readonly from: number;
  /** Everything below it was delivered. */
  next: number;
}

/** One attempt to put a key on a lease; times and shard as in {@link OpRecord}. */
export interface LeasePut {
  readonly client: string;
  readonly shard: ShardId;
  readonly key: string;
  readonly value: string;
  readonly lease: LeaseId;
  readonly start: number;
  end: number | undefined;
  /** Undefined = no answer. */
  outcome:
    | { readonly kind: 'ok'; readonly revision: number }
    | { readonly kind: 'failed' | 'unknown'; readonly code: string }
    | undefined;
}

/** Everything the clients of a run did and saw. */
export class History {
  readonly ops: OpRecord[] = [];
  /** What the holders of leases did to keys. */
  readonly leasePuts: LeasePut[] = [];
  readonly watches: WatchRecord[] = [];
  #events = 0;

  begin(client: string, shard: ShardId, op: Op, startMs: number): OpRecord {
    const record: OpRecord = {
      id: this.ops.length,
      client,
      shard,
      op,
      start: this.#next(),
      startMs,
      end: undefined,
      outcome: undefined,
    };
    this.ops.push(record);
    return record;
  }

  finish(record: OpRecord, outcome: Outcome): void {
    record.end = this.#next();
    record.outcome = outcome;
  }

  beginLeasePut(put: Omit<LeasePut, 'start' | 'end' | 'outcome'>): LeasePut {
    const record: LeasePut = { ...put, start: this.#next(), end: undefined, outcome: undefined };
    this.leasePuts.push(record);
    return record;
  }

  finishLeasePut(record: LeasePut, outcome: LeasePut['outcome']): void {
    record.end = this.#next();
    record.outcome = outcome;
  }

  /** The place of something that happens now in the order of all events. */
  now(): number {
    return this.#next();
  }

  #next(): number {
    this.#events += 1;
    return this.#events;
  }
}

export function describeOp(op: Op): string {
  switch (op.kind) {
    case 'put':
      return `put ${op.key}=${op.value}`;
    case 'delete':
      return `delete ${op.key}`;
    case 'pair':
      return `put ${op.keys.join(',')}=${op.value}`;
    case 'swap':
      return `swap ${op.key} ${op.expected ?? '-'} -> ${op.value}`;
    case 'get':
      return `get ${op.key}`;
    case 'list':
      return op.stale ? 'list stale' : 'list';
    case 'past':
      return `get ${op.key} at ${op.revision}`;
    case 'compact':
      return `compact ${op.revision}`;
  }
}

export function describeOutcome(outcome: Outcome): string {
  if (outcome.kind !== 'ok') return `${outcome.kind} ${outcome.code}`;
  const found = [...outcome.found].map(([key, text]) => `${key}=${text}`).join(' ');
  return `ok @${outcome.revision}${outcome.changed ? '' : ' unchanged'} ${found}`.trimEnd();
}
