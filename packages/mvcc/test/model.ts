import {
  type Compare,
  compareBytes,
  inRange,
  type KeyValue,
  type KvError,
  type LeaseId,
  NO_LEASE,
  type RangeRequest,
  type Revision,
  type SessionTag,
  type SortTarget,
  type TxnOp,
  type TxnRequest,
  type WatchEvent,
  type WatchFilter,
  type WriteRequest,
} from '@kvorum/base';
import type { LeaseCommand } from '@kvorum/mvcc';
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
  /** Leases that exist. */
  readonly leases = new Set<LeaseId>();
  private readonly sessions = new Map<string, { acked: number; answers: Map<number, string> }>();

  /** A write under a session's tag: decided once, and answered the same for ever, until it is acknowledged. */
  tagged(request: WriteRequest, tag: SessionTag | undefined): string {
    if (tag === undefined) return this.write(request);
    if (tag.ackedThrough >= tag.seq) return 'error';
    const known = this.sessions.get(tag.clientId);
    if (known === undefined && tag.retry && tag.ackedThrough > 0) return 'error';
    const session = known ?? { acked: 0, answers: new Map<number, string>() };
    const before = session.answers.get(tag.seq);
    if (before !== undefined) return before;
    if (tag.seq <= session.acked) return 'error';
    this.sessions.set(tag.clientId, session);
    session.acked = Math.max(session.acked, tag.ackedThrough);
    for (const seq of session.answers.keys()) if (seq <= session.acked) session.answers.delete(seq);
    const answer = this.write(request);
    session.answers.set(tag.seq, answer);
    return answer;
  }

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

  /** The printed answer of a grant, or of a revocation at a home that is alone. */
  lease(command: LeaseCommand): string {
    if (command.action === 'grant') {
      if (this.leases.has(command.id)) return 'error';
      this.leases.add(command.id);
    } else if (command.action === 'revoke') {
      const known = command.ids.filter((id) => this.leases.has(id));
      if (known.length === 0) return 'error';
      for (const id of known) this.revoke(id);
    }
    return `txn rev=${this.revision} succeeded`;
  }

  private revoke(id: LeaseId): void {
    this.leases.delete(id);
    const state = new Map(this.states[this.revision]);
    const revision = (this.revision + 1) as Revision;
    const gone = [...state.values()].filter(({ lease }) => lease === id);
    if (gone.length === 0) return;
    gone.sort((a, b) => compareBytes(a.key, b.key));
    for (const { key } of gone) state.delete(byteText(key));
    this.revision = revision;
    this.states.push(state);
    this.history.push(
      gone.map((kv) => ({ type: 'delete' as const, kv: { ...kv, modRevision: revision } })),
    );
  }

  range(request: RangeRequest): string {
    const pinned = request.revision ?? 0;
    if (pinned > this.revision) return 'future';
    if (pinned > 0 && pinned < this.compacted) return 'compacted';
    const state = this.states[pinned > 0 ? pinned : this.revision] ?? new Map<string, KeyValue>();
    return rangeLines(state, request, this.revision).join('\n');
  }

  /** Events a watcher of a range gets from `start` on; previous values where they are not compacted. */
  watch(
    range: { key: Uint8Array; rangeEnd?: Uint8Array },
    start: number,
    filters: readonly WatchFilter[] = [],
  ): string[] {
    return this.history
      .slice(start)
      .flat()
      .filter((event) => covers(range, event.kv.key) && !filters.includes(`no-${event.type}`))
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
  const { limit = 0, sortOrder = 'none', sortTarget = 'key' } = request;
  const matching = all.filter((kv) => passes(request, kv));
  // etcd fetches limit + 1 keys, and sorts those, where neither an order nor a filter makes it look at all of them.
  const early = limit > 0 && sortOrder === 'none' && !isFiltered(request);
  const sorted = early ? matching.slice(0, limit + 1) : matching;
  const sign = sortOrder === 'descend' ? -1 : 1;
  sorted.sort((a, b) => sign * compareBy(sortTarget, a, b));
  const kvs = limit > 0 ? sorted.slice(0, limit) : sorted;
  const shown = request.keysOnly === true ? kvs.map((kv) => ({ ...kv, value: NOTHING })) : kvs;
  return showResponse({
    op: 'range',
    revision: revision as Revision,
    kvs: request.countOnly === true ? [] : shown,
    more: request.countOnly !== true && limit > 0 && matching.length > limit,
    count: all.length,
  });
}

const NOTHING = new Uint8Array(0);

function compareBy(target: SortTarget, a: KeyValue, b: KeyValue): number {
  if (target === 'key') return compareBytes(a.key, b.key);
  if (target === 'value') return compareBytes(a.value, b.value);
  return Number(numberOf(target, a)) - Number(numberOf(target, b));
}

function isFiltered(request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const bounds = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision];
  return bounds.some((bound) => (bound ?? 0) !== 0);
}

function passes(request: RangeRequest, kv: KeyValue): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return (
    kv.modRevision >= (minModRevision || Number.NEGATIVE_INFINITY) &&
    kv.modRevision <= (maxModRevision || Number.POSITIVE_INFINITY) &&
    kv.createRevision >= (minCreateRevision || Number.NEGATIVE_INFINITY) &&
    kv.createRevision <= (maxCreateRevision || Number.POSITIVE_INFINITY)
  );
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
      const ignores = op.ignoreValue === true || op.ignoreLease === true;
      if (ignores && this.before.get(text) === undefined) return undefined;
      const lease = op.lease ?? NO_LEASE;
      if (lease !== NO_LEASE && !this.model.leases.has(lease)) return undefined;
      const kv: KeyValue = {
        key: op.key,
        value: op.ignoreValue === true && old !== undefined ? old.value : op.value,
        createRevision: old?.createRevision ?? revision,
        modRevision: revision,
        version: (old?.version ?? 0) + 1,
        lease: op.ignoreLease === true ? (old?.lease ?? NO_LEASE) : lease,
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
