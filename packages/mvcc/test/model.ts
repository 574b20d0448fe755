import {
  type Compare,
  compareBytes,
  inRange,
  type KeyValue,
  type KvError,
  NO_LEASE,
  type RangeRequest,
  type Revision,
  type TxnOp,
  type TxnRequest,
  type WatchEvent,
  type WriteRequest,
} from '@kvorum/base';
import { byteText } from '../src/binary.ts';
import { showError, showEvent, showResponse } from './script.ts';

type State = ReadonlyMap<string, KeyValue>;

/** etcd's semantics the slow way: a whole copy of the key space for every revision. */
export class Model {
  revision = 1;
  compacted = -1;
  readonly states: State[] = [new Map(), new Map()];
  /** Events by revision. */
  readonly history: WatchEvent[][] = [[], []];

  /** The printed answer of a write, as the script would print the engine's. */
  write(request: WriteRequest): string {
    if (request.op === 'compact') {
      if (request.revision <= this.compacted) return 'compacted';
      if (request.revision > this.revision) return 'future';
      this.compacted = request.revision;
      return `compact rev=${this.revision}`;
    }
    const draft = new Draft(new Map(this.states[this.revision]), this.revision, this);
    const lines =
      request.op === 'txn' ? draft.txn(request) : draft.op(request, request.op === 'put');
    if (lines === undefined) return 'error';
    if (draft.events.length > 0) {
      this.revision += 1;
      this.states.push(draft.state);
      this.history.push(draft.events);
    }
    return lines.join('\n');
  }

  range(request: RangeRequest): string {
    const pinned = request.revision ?? 0;
    if (pinned > this.revision) return 'future';
    if (pinned > 0 && pinned < this.compacted) return 'compacted';
    const state = this.states[pinned > 0 ? pinned : this.revision] ?? new Map<string, KeyValue>();
    return rangeLines(state, request, this.revision).join('\n');
  }

  /** Events a watcher of a range gets from `start` on; previous values where they are not compacted. */
  watch(range: { key: Uint8Array; rangeEnd?: Uint8Array }, start: number): string[] {
    return this.history
      .slice(start)
      .flat()
      .filter((event) => covers(range, event.kv.key))
      .map(showEvent);
  }
}

function covers(range: { key: Uint8Array; rangeEnd?: Uint8Array }, key: Uint8Array): boolean {
  return inRange(key, range.key, range.rangeEnd ?? new Uint8Array(0));
}

function within(state: State, range: { key: Uint8Array; rangeEnd?: Uint8Array }): KeyValue[] {
  return [...state.values()]
    .filter((kv) => covers(range, kv.key))
    .sort((a, b) => compareBytes(a.key, b.key));
}

function rangeLines(state: State, request: RangeRequest, revision: number): string[] {
  const all = within(state, request);
  const sorted = [...all];
  if (request.sortOrder === 'descend') sorted.reverse();
  const limit = request.limit ?? 0;
  const kvs = limit > 0 ? sorted.slice(0, limit) : sorted;
  return showResponse({
    op: 'range',
    revision: revision as Revision,
    kvs: request.countOnly === true ? [] : kvs,
    more: request.countOnly !== true && limit > 0 && all.length > limit,
    count: all.length,
  });
}

class Draft {
  readonly state: Map<string, KeyValue>;
  readonly events: WatchEvent[] = [];
  private readonly base: number;
  private readonly model: Model;
  private readonly before: State;

  constructor(state: Map<string, KeyValue>, base: number, model: Model) {
    this.before = new Map(state);
    this.state = state;
    this.base = base;
    this.model = model;
  }

  private get now(): number {
    return this.events.length > 0 ? this.base + 1 : this.base;
  }

  txn(txn: TxnRequest): string[] | undefined {
    const lines = this.branch(txn, '');
    if (lines === undefined) return undefined;
    const [head = '', ...rest] = lines;
    return [head.replace('rev=0', `rev=${this.now}`), ...rest];
  }

  private branch(txn: TxnRequest, indent: string): string[] | undefined {
    const succeeded = txn.compare.every((compare) => this.holds(compare));
    const out = [`${indent}txn rev=0 ${succeeded ? 'succeeded' : 'failed'}`];
    for (const op of succeeded ? txn.success : txn.failure) {
      const lines = op.op === 'txn' ? this.branch(op, `${indent}  `) : this.op(op, false);
      if (lines === undefined) return undefined;
      out.push(...(op.op === 'txn' ? lines : lines.map((line) => `${indent}  ${line}`)));
    }
    return out;
  }

  op(op: Exclude<TxnOp, TxnRequest>, alone: boolean): string[] | undefined {
    if (op.op === 'range') return this.readInTxn(op);
    const revision = (this.base + 1) as Revision;
    if (op.op === 'put') {
      const text = byteText(op.key);
      const old = this.state.get(text);
      if (op.ignoreValue === true && this.before.get(text) === undefined) return undefined;
      const kv: KeyValue = {
        key: op.key,
        value: op.ignoreValue === true && old !== undefined ? old.value : op.value,
        createRevision: old?.createRevision ?? revision,
        modRevision: revision,
        version: (old?.version ?? 0) + 1,
        lease: NO_LEASE,
      };
      this.state.set(text, kv);
      this.events.push({ type: 'put', kv });
      const prevKv = op.prevKv === true && old !== undefined ? { prevKv: old } : {};
      return showResponse({ op: 'put', revision, ...prevKv }, alone ? '' : '');
    }
    const gone = within(this.state, op);
    for (const kv of gone) {
      this.state.delete(byteText(kv.key));
      const bare = { ...kv, modRevision: revision };
      this.events.push({ type: 'delete', kv: bare });
    }
    const prevKvs = op.prevKv === true ? gone : [];
    const deleted = gone.length;
    return showResponse({ op: 'delete-range', revision: this.now as Revision, deleted, prevKvs });
  }

  private readInTxn(request: RangeRequest): string[] | undefined {
    const pinned = request.revision ?? 0;
    if (pinned > this.base || (pinned > 0 && pinned < this.model.compacted)) return undefined;
    const state = pinned > 0 ? (this.model.states[pinned] ?? new Map()) : this.state;
    return rangeLines(state, request, this.now);
  }

  private holds(compare: Compare): boolean {
    const kvs = within(this.before, compare);
    if (kvs.length > 0) return kvs.every((kv) => check(compare, kv));
    return compare.target !== 'value' && check(compare, undefined);
  }
}

function check(compare: Compare, kv: KeyValue | undefined): boolean {
  const order =
    compare.target === 'value'
      ? compareBytes(kv?.value ?? new Uint8Array(0), compare.value)
      : Number(numberOf(compare.target, kv)) - Number(compare.value);
  switch (compare.result) {
    case 'equal':
      return order === 0;
    case 'not-equal':
      return order !== 0;
    case 'greater':
      return order > 0;
    case 'less':
      return order < 0;
  }
}

function numberOf(
  target: 'version' | 'create' | 'mod' | 'lease',
  kv: KeyValue | undefined,
): number | bigint {
  if (kv === undefined) return 0;
  if (target === 'version') return kv.version;
  if (target === 'create') return kv.createRevision;
  return target === 'mod' ? kv.modRevision : kv.lease;
}

/** An error as the model names it. */
export function errorName(error: KvError): string {
  if (error.code === 'KV_COMPACTED') return 'compacted';
  if (error.code === 'KV_FUTURE_REVISION') return 'future';
  return error.code === 'KV_KEY_NOT_FOUND' ? 'error' : showError(error);
}
