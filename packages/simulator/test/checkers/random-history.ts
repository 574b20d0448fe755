import { createHash } from 'node:crypto';
import {
  fromUtf8,
  type KvRequest,
  type LeaseId,
  leaderId,
  NO_LEASE,
  type Revision,
  type Term,
  utf8,
} from '@kvorum/base';
import { encodeWriteSet, type RowFields } from '@kvorum/mvcc';
import type { Rng } from '@kvorum/ports';
import type {
  HistoryLine,
  RecordedEvent,
  RecordedKeyValue,
  RecordedResponse,
} from '@kvorum/simulator';
import { seededRng } from '@kvorum/testkit';
import { encodeLogRecord } from '@kvorum/wire';
import { del, get, list, put, putAll, SHARD, swap } from './history-builder.ts';

interface Stored {
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
}

interface Change {
  readonly key: string;
  readonly value: string | undefined;
  readonly lease?: LeaseId;
}

/** A store small enough to be right at sight; tells its changes to the log and to the watchers. */
export class TinyStore {
  readonly keys = new Map<string, Stored>();
  readonly lines: HistoryLine[] = [];
  revision = 1;
  readonly #last = new Map<string, { main: number; sub: number }>();
  #chain: Uint8Array = new Uint8Array(32);
  #seq = 0;

  constructor() {
    this.#append('barrier', new Uint8Array(0));
  }

  found(key: string): readonly RecordedKeyValue[] {
    const stored = this.keys.get(key);
    if (stored === undefined) return [];
    const { create, mod, value, version } = stored;
    const counts = { createRevision: create, modRevision: mod, version };
    return [{ key: utf8(key), value: utf8(value), ...counts }];
  }

  /** Applies one command's changes under a revision of their own. */
  write(changes: readonly Change[]): readonly RecordedEvent[] {
    if (changes.length === 0) return [];
    const base = this.revision;
    this.revision += 1;
    const mod = this.revision;
    const events: RecordedEvent[] = [];
    const rows: RowFields[] = changes.map(({ key, value, lease = NO_LEASE }, sub) => {
      const before = this.keys.get(key);
      const [prevKv] = this.found(key);
      const create = value === undefined ? 0 : (before?.create ?? mod);
      const version = value === undefined ? 0 : (before?.version ?? 0) + 1;
      if (value === undefined) this.keys.delete(key);
      else this.keys.set(key, { value, create, mod, version });
      const kv = { key: utf8(key), modRevision: mod };
      const counts = { createRevision: create, version };
      const put = value === undefined ? {} : { value: utf8(value), ...counts };
      const previous = prevKv === undefined ? {} : { prevKv };
      const type = value === undefined ? 'delete' : 'put';
      events.push({ type, kv: { ...kv, ...put }, ...previous });
      return this.#row({ key, value, create, version, mod, sub, lease });
    });
    const frame = { leaderTimeMs: 0, baseRevision: base, revisionCount: 1 };
    this.#append('batch', encodeWriteSet(rows, frame));
    return events;
  }

  #row(change: {
    readonly key: string;
    readonly value: string | undefined;
    readonly create: number;
    readonly version: number;
    readonly mod: number;
    readonly sub: number;
    readonly lease: LeaseId;
  }): RowFields {
    const { create, key, lease, mod, sub, value, version } = change;
    const last = this.#last.get(key) ?? { main: 0, sub: 0 };
    this.#last.set(key, { main: mod, sub });
    return {
      key: utf8(key),
      value: utf8(value ?? ''),
      modMain: mod as Revision,
      modSub: sub,
      create: create as Revision,
      version,
      lease,
      deleted: value === undefined,
      prevMain: last.main,
      prevSub: last.sub,
    };
  }

  #append(kind: 'barrier' | 'batch', payload: Uint8Array): void {
    const bytes = encodeLogRecord({
      shardUid: new Uint8Array(16).fill(7),
      generation: 0,
      term: 1 as Term,
      leaderId: leaderId('1'.repeat(32)),
      seq: this.#seq,
      prevHash: kind === 'barrier' ? new Uint8Array(32) : this.#chain,
      kind,
      leaderTimeMs: 0,
      payload,
    });
    this.#chain = sha256(this.#chain, sha256(bytes));
    this.lines.push({ type: 'log', shard: SHARD, offset: this.lines.length, bytes });
    this.#seq += 1;
  }
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** What a request does to the store: its answer and its changes. */
function plan(
  store: TinyStore,
  request: KvRequest,
): { readonly response: RecordedResponse; readonly changes: readonly Change[] } {
  switch (request.op) {
    case 'put':
      return {
        response: { op: 'put' },
        changes: [{ key: fromUtf8(request.key), value: fromUtf8(request.value) }],
      };
    case 'range': {
      const key = fromUtf8(request.key);
      const keys = request.rangeEnd === undefined ? [key] : [...store.keys.keys()].sort();
      return {
        response: { op: 'range', kvs: keys.flatMap((one) => store.found(one)) },
        changes: [],
      };
    }
    case 'delete-range': {
      const key = fromUtf8(request.key);
      const there = store.keys.has(key);
      return {
        response: { op: 'delete-range', deleted: there ? 1 : 0 },
        changes: there ? [{ key, value: undefined }] : [],
      };
    }
    case 'txn': {
      const succeeded = request.compare.every((compare) => {
        const stored = store.keys.get(fromUtf8(compare.key));
        if (compare.target !== 'value') return stored === undefined;
        return stored?.value === fromUtf8(compare.value);
      });
      const parts = (succeeded ? request.success : request.failure).map((op) => plan(store, op));
      const responses = parts.map(({ response }) => response);
      return {
        response: { op: 'txn', succeeded, responses },
        changes: parts.flatMap(({ changes }) => changes),
      };
    }
    case 'compact':
      return { response: { op: 'compact' }, changes: [] };
  }
}

export interface RandomOptions {
  readonly seed: number;
  readonly operations: number;
  readonly processes: number;
  readonly keys: number;
  /** Of a hundred operations: those whose answer is lost. */
  readonly unknownPercent?: number;
  /** Distinct values; absent = every write has its own. */
  readonly values?: number;
  readonly watchers?: number;
  /** Ranges over everything; costly with many keys. */
  readonly ranges?: boolean;
}

/** A history as it could be, every step of it right: operations take effect at one moment between call and return. */
export function randomHistory(options: RandomOptions): HistoryLine[] {
  return new RandomRun(options).run();
}

class RandomRun {
  readonly #options: RandomOptions;
  readonly #rng: Rng;
  readonly #store = new TinyStore();
  readonly #lines: HistoryLine[] = [];
  readonly #late: (() => void)[] = [];
  #clock = 0;
  #values = 0;

  constructor(options: RandomOptions) {
    this.#options = options;
    this.#rng = seededRng(options.seed);
  }

  run(): HistoryLine[] {
    const { operations, processes, watchers = 0 } = this.#options;
    for (let i = 0; i < watchers; i += 1) this.#open(i);
    const busy = new Map<number, Generator<void, void, undefined>>();
    let begun = 0;
    while (begun < operations || busy.size > 0) {
      const i = this.#rng.integer(0, processes);
      if (!busy.has(i) && begun < operations) {
        busy.set(i, this.#operate(begun, i));
        begun += 1;
      }
      if (busy.get(i)?.next().done === true) busy.delete(i);
      if (this.#late.length > 0 && this.#rng.integer(0, 10) === 0) this.#late.shift()?.();
    }
    return [...this.#lines, ...this.#store.lines];
  }

  #tick(): number {
    this.#clock += 1;
    return this.#clock;
  }

  *#operate(id: number, index: number): Generator<void, void, undefined> {
    const request = this.#draw();
    const call = this.#tick();
    const process = `p${index}`;
    const who = { type: 'operation', id, client: process, process, shard: SHARD, call } as const;
    yield;
    const lost = this.#rng.integer(0, 100) < (this.#options.unknownPercent ?? 0);
    if (lost) {
      const fate = this.#rng.integer(0, 4);
      const apply = (): void => void this.#apply(request);
      if (fate === 0) apply();
      else if (fate === 1 && request.op !== 'range') this.#late.push(apply);
      const result = { outcome: fate === 3 ? 'failed' : 'unknown', code: 'KV_TIMEOUT' } as const;
      yield;
      this.#lines.push({ ...who, return: this.#tick(), request, result });
      return;
    }
    const response = this.#apply(request);
    const result = { outcome: 'ok', revision: this.#store.revision, response } as const;
    yield;
    this.#lines.push({ ...who, return: this.#tick(), request, result });
  }

  #apply(request: KvRequest): RecordedResponse {
    const { changes, response } = plan(this.#store, request);
    const events = this.#store.write(changes);
    for (let i = 0; i < (this.#options.watchers ?? 0); i += 1) this.#deliver(i, events);
    return response;
  }

  #draw(): KvRequest {
    const { keys, ranges = true } = this.#options;
    const keyAt = this.#rng.integer(0, keys);
    const key = `k${keyAt}`;
    const roll = this.#rng.integer(0, 100);
    if (roll < 30) return put(key, this.#value());
    if (roll < 45) return swap(key, this.#store.keys.get(key)?.value, this.#value());
    if (roll < 52) return swap(key, undefined, this.#value());
    if (roll < 60) return del(key);
    if (roll < 66 && keys > 1) {
      const pair = [key, `k${keyAt % 2 === 0 ? (keyAt + 1) % keys : keyAt - 1}`];
      return putAll([...new Set(pair)], this.#value());
    }
    return roll < 94 || !ranges ? get(key) : list('k', 'l');
  }

  #value(): string {
    const { values } = this.#options;
    if (values !== undefined) return `v${this.#rng.integer(0, values)}`;
    this.#values += 1;
    return `v${this.#values}`;
  }

  #open(i: number): void {
    const request = {
      ...{ key: utf8('k'), rangeEnd: utf8('l') },
      ...{ startRevision: this.#store.revision + 1, prevKv: i % 2 === 0 },
    };
    const who = { stream: `w${i}`, client: `w${i}`, shard: SHARD, at: this.#tick() };
    this.#lines.push({ type: 'watch', ...who, request });
  }

  #deliver(i: number, events: readonly RecordedEvent[]): void {
    if (events.length === 0) return;
    if (this.#rng.integer(0, 20) === 0) {
      this.#lines.push({ type: 'watch-end', stream: `w${i}`, at: this.#tick() });
      // The revision was made already and is delivered over the new connection.
      const request = {
        ...{ key: utf8('k'), rangeEnd: utf8('l') },
        ...{ startRevision: this.#store.revision, prevKv: i % 2 === 0 },
      };
      const who = { stream: `w${i}`, client: `w${i}`, shard: SHARD, at: this.#tick() };
      this.#lines.push({ type: 'watch', ...who, request });
    }
    const asked = events.map((event) => (i % 2 === 0 ? event : withoutPrevious(event)));
    this.#lines.push({ type: 'events', stream: `w${i}`, at: this.#tick(), events: asked });
  }
}

function withoutPrevious({ kv, type }: RecordedEvent): RecordedEvent {
  return { type, kv };
}
