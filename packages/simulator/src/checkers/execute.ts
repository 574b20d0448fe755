import type {
  Compare,
  CompareResult,
  DeleteRangeRequest,
  KvRequest,
  PutRequest,
  RangeRequest,
  TxnRequest,
} from '@kvorum/base';
import { type KeyRange, keyRange, keyText } from './key-text.ts';
import type { KeyVersion, KeyVersions } from './key-versions.ts';

/** A key as the model would answer it. */
export interface ModelKeyValue extends KeyVersion {
  readonly key: string;
  readonly value: string;
}

/** What the model would answer. */
export type ModelResponse =
  | {
      readonly op: 'range';
      readonly kvs: readonly ModelKeyValue[];
      readonly more: boolean;
      readonly count: number;
    }
  | { readonly op: 'put'; readonly previous: ModelKeyValue | undefined }
  | { readonly op: 'delete-range'; readonly previous: readonly ModelKeyValue[] }
  | {
      readonly op: 'txn';
      readonly succeeded: boolean;
      readonly responses: readonly ModelResponse[];
    }
  | { readonly op: 'compact' };

/** What one request does to the state at a revision: a second implementation of the API's semantics, naive on purpose. */
export interface Execution {
  readonly response: ModelResponse;
  /** The new versions of the keys it changes; none = it takes no revision. */
  readonly changes: ReadonlyMap<string, KeyVersion>;
}

/** Runs `request` on the state at `base`; what it writes gets the revision `main`. */
export function execute(
  versions: KeyVersions,
  request: KvRequest,
  base: number,
  main: number = base + 1,
): Execution {
  const run = new ModelRun(versions, base, main);
  return { response: run.request(request), changes: run.changes };
}

class ModelRun {
  readonly changes = new Map<string, KeyVersion>();
  readonly #versions: KeyVersions;
  readonly #base: number;
  readonly #main: number;

  constructor(versions: KeyVersions, base: number, main: number) {
    this.#versions = versions;
    this.#base = base;
    this.#main = main;
  }

  request(request: KvRequest): ModelResponse {
    switch (request.op) {
      case 'range':
        return this.#range(request);
      case 'put':
        return this.#put(request);
      case 'delete-range':
        return this.#delete(request);
      case 'txn':
        return this.#txn(request, this.#plan(request));
      case 'compact':
        return { op: 'compact' };
    }
  }

  #live(key: string): ModelKeyValue | undefined {
    const changed = this.changes.get(key);
    const version = changed ?? this.#versions.at(key, this.#base);
    return keyValue(key, version);
  }

  #liveIn(range: KeyRange): readonly ModelKeyValue[] {
    const known = this.#versions.keysIn(range);
    const added = [...this.changes.keys()].filter(
      (key) => key >= range.from && (range.to === undefined || key < range.to),
    );
    const keys = added.length === 0 ? known : [...new Set([...known, ...added])].sort();
    return present(keys.map((key) => this.#live(key)));
  }

  #range(request: RangeRequest): ModelResponse {
    const range = keyRange(request.key, request.rangeEnd);
    const pinned = request.revision !== undefined && request.revision > 0;
    const at = request.revision ?? 0;
    const found = pinned
      ? present(
          this.#versions.keysIn(range).map((key) => keyValue(key, this.#versions.at(key, at))),
        )
      : this.#liveIn(range);
    return { op: 'range', ...select(found, request) };
  }

  #put(request: PutRequest): ModelResponse {
    const key = keyText(request.key);
    const previous = this.#live(key);
    this.changes.set(key, {
      revision: this.#main,
      value: request.ignoreValue === true ? previous?.value : keyText(request.value),
      deleted: false,
      createRevision: previous?.createRevision ?? this.#main,
      version: (previous?.version ?? 0) + 1,
      lease: request.ignoreLease === true ? (previous?.lease ?? 0n) : (request.lease ?? 0n),
    });
    return { op: 'put', previous };
  }

  #delete(request: DeleteRangeRequest): ModelResponse {
    const previous = this.#liveIn(keyRange(request.key, request.rangeEnd));
    for (const { key } of previous) this.changes.set(key, tombstone(this.#main));
    return { op: 'delete-range', previous };
  }

  /** All levels decide on the state before the first write. */
  #plan(txn: TxnRequest): Plan {
    const succeeded = txn.compare.every((compare) => this.#holds(compare));
    const ops = succeeded ? txn.success : txn.failure;
    return { succeeded, nested: ops.map((op) => (op.op === 'txn' ? this.#plan(op) : undefined)) };
  }

  #txn(txn: TxnRequest, plan: Plan): ModelResponse {
    const ops = plan.succeeded ? txn.success : txn.failure;
    const responses = ops.map((op, i) => {
      const nested = plan.nested[i];
      return op.op === 'txn' && nested !== undefined ? this.#txn(op, nested) : this.request(op);
    });
    return { op: 'txn', succeeded: plan.succeeded, responses };
  }

  #holds(compare: Compare): boolean {
    const range = keyRange(compare.key, compare.rangeEnd);
    const found = range.single ? [this.#live(range.from)] : this.#liveIn(range);
    return found.length === 0
      ? compareHolds(compare, undefined)
      : found.every((kv) => compareHolds(compare, kv));
  }
}

interface Plan {
  readonly succeeded: boolean;
  /** Per op of the branch; of its txns only. */
  readonly nested: readonly (Plan | undefined)[];
}

function present(found: readonly (ModelKeyValue | undefined)[]): readonly ModelKeyValue[] {
  return found.filter((kv) => kv !== undefined);
}

function keyValue(key: string, version: KeyVersion | undefined): ModelKeyValue | undefined {
  if (version === undefined || version.deleted) return undefined;
  return { ...version, key, value: version.value ?? '' };
}

export function tombstone(revision: number): KeyVersion {
  return { revision, value: undefined, deleted: true, createRevision: 0, version: 0, lease: 0n };
}

/** Whether a compare holds for one key; a missing one has zeros for numbers, and no value. */
export function compareHolds(compare: Compare, kv: KeyVersion | undefined): boolean {
  switch (compare.target) {
    case 'version':
      return satisfies((kv?.version ?? 0) - compare.value, compare.result);
    case 'create':
      return satisfies((kv?.createRevision ?? 0) - compare.value, compare.result);
    case 'mod':
      return satisfies((kv?.revision ?? 0) - compare.value, compare.result);
    case 'lease':
      return satisfies(order(kv?.lease ?? 0n, compare.value), compare.result);
    case 'value':
      return (
        kv?.value !== undefined &&
        satisfies(order(kv.value, keyText(compare.value)), compare.result)
      );
  }
}

function order<T extends bigint | string>(a: T, b: T): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function satisfies(sign: number, result: CompareResult): boolean {
  switch (result) {
    case 'equal':
      return sign === 0;
    case 'not-equal':
      return sign !== 0;
    case 'greater':
      return sign > 0;
    case 'less':
      return sign < 0;
  }
}

/** A range's options, as etcd has them (server/etcdserver/txn/range.go). */
function select(
  found: readonly ModelKeyValue[],
  request: RangeRequest,
): { kvs: readonly ModelKeyValue[]; more: boolean; count: number } {
  const count = found.length;
  if (request.countOnly === true) return { kvs: [], more: false, count };
  const limit = request.limit !== undefined && request.limit > 0 ? request.limit : 0;
  const filtered = found.filter((kv) => passes(kv, request));
  const isFiltered = filtered.length !== found.length || hasFilter(request);
  const target = request.sortTarget ?? 'key';
  const direction = request.sortOrder ?? 'none';
  // etcd fetches limit + 1 keys when no order and no filter is given, and sorts only those.
  const early = limit > 0 && direction === 'none' && !isFiltered;
  const candidates = early ? filtered.slice(0, limit + 1) : filtered;
  const sign = direction === 'descend' ? -1 : 1;
  const sorted =
    target === 'key' && sign > 0
      ? candidates
      : candidates.toSorted((a, b) => sign * sortOrder(a, b, target));
  const more = limit > 0 && filtered.length > limit;
  return { kvs: limit > 0 ? sorted.slice(0, limit) : sorted, more, count };
}

function hasFilter(request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const bounds = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision];
  return bounds.some((bound) => (bound ?? 0) !== 0);
}

function passes(kv: ModelKeyValue, request: RangeRequest): boolean {
  return (
    within(kv.revision, request.minModRevision, request.maxModRevision) &&
    within(kv.createRevision, request.minCreateRevision, request.maxCreateRevision)
  );
}

function within(value: number, min = 0, max = 0): boolean {
  return (min === 0 || value >= min) && (max === 0 || value <= max);
}

function sortOrder(
  a: ModelKeyValue,
  b: ModelKeyValue,
  target: NonNullable<RangeRequest['sortTarget']>,
): number {
  switch (target) {
    case 'key':
      return order(a.key, b.key);
    case 'value':
      return order(a.value, b.value);
    case 'version':
      return a.version - b.version;
    case 'create':
      return a.createRevision - b.createRevision;
    case 'mod':
      return a.revision - b.revision;
  }
}
