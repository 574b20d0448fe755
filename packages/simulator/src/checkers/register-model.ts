import type { Compare, DeleteRangeRequest, KvRequest, RangeRequest, TxnOp } from '@kvorum/base';
import { branchOf, didWrite } from './effects.ts';
import { type KeyRange, keyRange, keysWithin, keyText } from './key-text.ts';
import type { RecordedKeyValue, RecordedOperation, RecordedResponse } from './recorded-history.ts';

/** Values of the keys of a group, by position; undefined = absent. */
export type RegisterState = readonly (string | undefined)[];

/** An operation on the registers of one group of keys, blind to revisions. */
export interface RegisterStep {
  readonly operation: RecordedOperation;
  /** Must take effect, with its answer; otherwise it may, at any time after its call, or never. */
  readonly required: boolean;
  /** What it answered shows that it changes nothing. */
  readonly readOnly: boolean;
  /** It touches one key only. */
  readonly single: boolean;
  readonly call: number;
  /** Infinity when it is not required. */
  readonly return: number;
  /**
   * The states it can lead to: none when its answer does not fit `state`; two when what an unanswered txn does hangs on
   * something that registers do not hold (a revision, a lease).
   */
  apply(state: RegisterState): readonly RegisterState[];
}

/** The keys of a group and their positions in its states. */
export interface KeyGroup {
  readonly keys: readonly string[];
  readonly positions: ReadonlyMap<string, number>;
  /** Every key of the history, sorted: no other one can exist. */
  readonly known: readonly string[];
}

type Fit = (state: (string | undefined)[], before: RegisterState) => boolean;

/** What an operation does to a group; undefined when it tells nothing and does nothing. */
export function registerStep(
  operation: RecordedOperation,
  group: KeyGroup,
): RegisterStep | undefined {
  const { request, result } = operation;
  const required = result.outcome === 'ok';
  if (result.outcome === 'failed' || request.op === 'compact') return undefined;
  if (!required && request.op === 'range') return undefined;
  const compiler = new Compiler(group);
  const ways = required
    ? [compiler.answered(request, result.response)]
    : compiler.unanswered(request);
  return {
    operation,
    required,
    readOnly: required && didWrite(request, result.response) === false,
    single: group.keys.length === 1 || isSingle(request),
    call: operation.call,
    return: required ? (operation.return ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY,
    apply: (state) => {
      const states: RegisterState[] = [];
      for (const suits of ways) {
        const next = [...state];
        if (suits(next, state)) states.push(next);
      }
      return states;
    },
  };
}

function isSingle(request: KvRequest): boolean {
  const keys = new Set<string>();
  const visit = (op: KvRequest | TxnOp): void => {
    if (op.op === 'txn') {
      for (const { key, rangeEnd } of op.compare) add(key, rangeEnd);
      for (const inner of [...op.success, ...op.failure]) visit(inner);
    } else if (op.op !== 'compact') add(op.key, op.op === 'put' ? undefined : op.rangeEnd);
  };
  const add = (key: Uint8Array, rangeEnd: Uint8Array | undefined): void => {
    const range = keyRange(key, rangeEnd);
    keys.add(range.single ? range.from : `${range.from}\0…`);
    if (!range.single) keys.add('');
  };
  visit(request);
  return keys.size === 1;
}

/** Whether registers can tell if a compare holds. */
function isEvaluable(compare: Compare): boolean {
  if (compare.target === 'value') return true;
  return compare.target === 'version' && compare.value === 0 && compare.result !== 'less';
}

class Compiler {
  readonly #group: KeyGroup;

  constructor(group: KeyGroup) {
    this.#group = group;
  }

  /** An operation with its answer: what was taken is known, and every recorded value must fit. */
  answered(op: KvRequest | TxnOp, response: RecordedResponse | undefined): Fit {
    switch (op.op) {
      case 'range':
        return this.#range(op, response?.op === 'range' ? response.kvs : undefined, response);
      case 'put':
        return this.#put(op, response);
      case 'delete-range':
        return this.#delete(op, response?.op === 'delete-range' ? response : undefined);
      case 'compact':
        return () => true;
      case 'txn': {
        if (response?.op !== 'txn') return () => true;
        const { succeeded, responses } = response;
        const conditions = this.#conditions(op.compare, succeeded);
        const ops = branchOf(op, succeeded).map((one, i) => this.answered(one, responses?.[i]));
        return (state, before) =>
          conditions(state, before) && ops.every((suits) => suits(state, before));
      }
    }
  }

  /** An operation without an answer, in every way it may have gone. */
  unanswered(op: KvRequest | TxnOp): readonly Fit[] {
    if (op.op !== 'txn') return op.op === 'compact' ? [] : [this.answered(op, undefined)];
    return [true, false].map((succeeded) => {
      const conditions = this.#conditions(op.compare, succeeded);
      const branch = branchOf(op, succeeded).map((one) => this.answered(one, undefined));
      return (state, before) =>
        conditions(state, before) && branch.every((suits) => suits(state, before));
    });
  }

  #put(op: KvRequest & { readonly op: 'put' }, response: RecordedResponse | undefined): Fit {
    const at = this.#group.positions.get(keyText(op.key)) ?? -1;
    if (at < 0) return () => true;
    const value = keyText(op.value);
    const previous = response?.op === 'put' && op.prevKv === true ? response : undefined;
    return (state) => {
      if (previous !== undefined && !holds(previous.prevKv, state[at])) return false;
      if (op.ignoreValue !== true) state[at] = value;
      return true;
    };
  }

  #delete(
    op: DeleteRangeRequest,
    response: (RecordedResponse & { readonly op: 'delete-range' }) | undefined,
  ): Fit {
    const range = keyRange(op.key, op.rangeEnd);
    const positions = this.#positions(range);
    const whole = this.#holdsWhole(range);
    const previous = response?.prevKvs === undefined ? undefined : byKey(response.prevKvs);
    const judged = op.prevKv === true ? previous : undefined;
    return (state) => {
      let deleted = 0;
      for (const at of positions) {
        const key = this.#group.keys[at] ?? '';
        if (judged !== undefined && !holds(judged.get(key), state[at])) return false;
        if (state[at] !== undefined) deleted += 1;
        state[at] = undefined;
      }
      return !whole || response === undefined || deleted === response.deleted;
    };
  }

  #range(
    op: RangeRequest,
    kvs: readonly RecordedKeyValue[] | undefined,
    response: RecordedResponse | undefined,
  ): Fit {
    const range = keyRange(op.key, op.rangeEnd);
    // What is read at a chosen revision, or chosen by revisions, is judged by the other checkers.
    if (kvs === undefined || (op.revision ?? 0) > 0 || isSelective(op)) return () => true;
    const found = byKey(kvs);
    const positions = this.#positions(range);
    if (op.countOnly === true) {
      const count = response?.op === 'range' ? response.count : undefined;
      if (count === undefined || !this.#holdsWhole(range)) return () => true;
      return (state) => positions.filter((at) => state[at] !== undefined).length === count;
    }
    return (state) =>
      positions.every((at) => holds(found.get(this.#group.keys[at] ?? ''), state[at]));
  }

  /** All compares look at the state before the first write. */
  #conditions(compares: readonly Compare[], succeeded: boolean): Fit {
    const known = compares.filter(isEvaluable).map((compare) => this.#compare(compare));
    const judged = known.filter((one) => one !== undefined);
    if (succeeded) return (_, before) => judged.every((suits) => suits(before));
    if (judged.length < compares.length) return () => true;
    return (_, before) => !judged.every((suits) => suits(before));
  }

  /** Undefined when the group does not hold every key that it looks at. */
  #compare(compare: Compare): ((state: RegisterState) => boolean) | undefined {
    const range = keyRange(compare.key, compare.rangeEnd);
    if (!this.#holdsWhole(range)) return undefined;
    const positions = this.#positions(range);
    const wanted = compare.target === 'value' ? keyText(compare.value) : '';
    return (state) => {
      const present = positions.map((at) => state[at]).filter((value) => value !== undefined);
      if (compare.target === 'value') {
        if (present.length === 0) return false;
        return present.every((value) => compareValue(value, wanted, compare.result));
      }
      const isAbsent = compare.result === 'equal';
      return isAbsent ? present.length === 0 : present.length > 0;
    };
  }

  #positions(range: KeyRange): readonly number[] {
    if (range.single) {
      const at = this.#group.positions.get(range.from);
      return at === undefined ? [] : [at];
    }
    const { known, positions } = this.#group;
    return keysWithin(known, range).flatMap((key) => positions.get(key) ?? []);
  }

  /** Whether every key that can exist in a range is in this group. */
  #holdsWhole(range: KeyRange): boolean {
    const { known, positions } = this.#group;
    if (range.single) return positions.has(range.from);
    return keysWithin(known, range).every((key) => positions.has(key));
  }
}

function compareValue(value: string, wanted: string, result: Compare['result']): boolean {
  switch (result) {
    case 'equal':
      return value === wanted;
    case 'not-equal':
      return value !== wanted;
    case 'greater':
      return value > wanted;
    case 'less':
      return value < wanted;
  }
}

/** Whether a recorded key fits a register: presence, and the value when it was recorded. */
function holds(found: RecordedKeyValue | undefined, value: string | undefined): boolean {
  if (found === undefined || value === undefined) return found === undefined && value === undefined;
  return found.value === undefined || keyText(found.value) === value;
}

function byKey(kvs: readonly RecordedKeyValue[]): ReadonlyMap<string, RecordedKeyValue> {
  return new Map(kvs.map((kv) => [keyText(kv.key), kv] as const));
}

/** A range that leaves out keys for another reason than their absence. */
function isSelective(op: RangeRequest): boolean {
  const bounds = [op.limit, op.minModRevision, op.maxModRevision];
  return [...bounds, op.minCreateRevision, op.maxCreateRevision].some((one) => (one ?? 0) > 0);
}
