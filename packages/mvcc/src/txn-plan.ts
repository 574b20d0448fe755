import {
  type Compare,
  type CompareResult,
  compareBytes,
  type DeleteRangeRequest,
  KvError,
  NO_LEASE,
  type PutRequest,
  type RangeRequest,
  type TxnOp,
  type TxnRequest,
} from '@kvorum/base';
import type { BatchState } from './batch-state.ts';
import { checkRevision, toKeyValues } from './range.ts';
import type { Reading } from './reading.ts';
import { type Head, rowValue } from './row-codec.ts';
import { VisibleScan } from './visible.ts';

/** Which branches a txn takes, decided for all levels on the state before its first write. */
export interface TxnPlan {
  readonly succeeded: boolean;
  readonly ops: readonly TxnOp[];
  /** Plans of the nested txns of `ops`, in their order. */
  readonly nested: readonly TxnPlan[];
}

export function isPoint(request: { readonly rangeEnd?: Uint8Array }): boolean {
  return request.rangeEnd === undefined || request.rangeEnd.length === 0;
}

/** Whether a range is one key at the newest revision without any filter: answered from its slot. */
export function isPlainGet(request: RangeRequest): boolean {
  return (
    isPoint(request) &&
    (request.revision ?? 0) <= 0 &&
    (request.minModRevision ?? 0) === 0 &&
    (request.maxModRevision ?? 0) === 0 &&
    (request.minCreateRevision ?? 0) === 0 &&
    (request.maxCreateRevision ?? 0) === 0
  );
}

/** Asks for the heads and rows that the point operations of a request will look at. */
export function prefetchOp(state: BatchState, op: TxnOp): void {
  switch (op.op) {
    case 'put':
      prefetchPut(state, op);
      return;
    case 'delete-range':
      prefetchPoint(state, op, op.prevKv === true);
      return;
    case 'range':
      prefetchPoint(state, op, isPlainGet(op) && op.countOnly !== true && op.keysOnly !== true);
      return;
    default:
      for (const compare of op.compare) prefetchPoint(state, compare, compare.target === 'value');
      for (const inner of op.success) prefetchOp(state, inner);
      for (const inner of op.failure) prefetchOp(state, inner);
  }
}

function prefetchPut(state: BatchState, put: PutRequest): void {
  const slot = state.slot(put.key);
  if (put.prevKv === true || put.ignoreValue === true) slot.wantsRow = true;
  const lease = put.lease ?? NO_LEASE;
  if (lease !== NO_LEASE) state.wantLease(lease);
}

function prefetchPoint(
  state: BatchState,
  request: Pick<DeleteRangeRequest, 'key' | 'rangeEnd'>,
  wantsRow: boolean,
): void {
  if (!isPoint(request)) return;
  const slot = state.slot(request.key);
  if (wantsRow) slot.wantsRow = true;
}

/** Evaluates the compares of a txn and of the nested ones on its path. */
export function* planTxn(state: BatchState, txn: TxnRequest): Reading<TxnPlan> {
  let succeeded = true;
  for (const compare of txn.compare) {
    if (yield* holds(state, compare)) continue;
    succeeded = false;
    break;
  }
  const ops = succeeded ? txn.success : txn.failure;
  const nested: TxnPlan[] = [];
  for (const op of ops) if (op.op === 'txn') nested.push(yield* planTxn(state, op));
  return { succeeded, ops, nested };
}

/** What can make the ops on the path fail, checked before the first of them runs: a txn never fails half-way. */
export function checkPlan(state: BatchState, plan: TxnPlan): KvError | undefined {
  let nested = 0;
  for (const op of plan.ops) {
    let fault: KvError | undefined;
    if (op.op === 'txn') {
      fault = checkPlan(state, plan.nested[nested] as TxnPlan);
      nested += 1;
    } else if (op.op === 'range') {
      fault = checkRangeInTxn(state, op.revision ?? 0);
    } else if (op.op === 'put') {
      fault = checkKeptKey(state, op) ?? checkLease(state, op);
    }
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/**
 * The checks of a put alone that need the state: its lease, and the key behind the ignore flags. Inside a txn etcd looks for the key
 * first. Source: etcd server/etcdserver/txn/{put,txn}.go (Put, checkPut).
 */
export function checkPutState(state: BatchState, put: PutRequest): KvError | undefined {
  return checkLease(state, put) ?? checkKeptKey(state, put);
}

function checkLease(state: BatchState, { lease = NO_LEASE }: PutRequest): KvError | undefined {
  if (lease === NO_LEASE || state.hasLease(lease)) return undefined;
  return new KvError('KV_LEASE_NOT_FOUND');
}

function checkKeptKey(state: BatchState, put: PutRequest): KvError | undefined {
  if (put.ignoreValue !== true && put.ignoreLease !== true) return undefined;
  const { head } = state.slot(put.key);
  const exists = head !== undefined && !head.deleted;
  return exists ? undefined : new KvError('KV_KEY_NOT_FOUND');
}

/**
 * A negative revision reads the newest one outside of a txn; inside, etcd looks only for 0 before it compares with the compacted one.
 * Source: etcd server/etcdserver/txn/range.go (checkRange).
 */
function checkRangeInTxn(state: BatchState, asked: number): KvError | undefined {
  const compactRevision = state.compactRevision();
  if (asked >= 0 || asked >= compactRevision) {
    return checkRevision(asked, state.revision, compactRevision);
  }
  return new KvError('KV_COMPACTED', undefined, { details: { compactRevision } });
}

function* holds(state: BatchState, compare: Compare): Reading<boolean> {
  if (isPoint(compare)) {
    const slot = state.slot(compare.key);
    const live = slot.head !== undefined && !slot.head.deleted ? slot.head : undefined;
    return holdsFor(compare, live, live === undefined ? undefined : state.rowOf(slot));
  }
  const scan = new VisibleScan(state, compare, state.revision);
  let any = false;
  while (!scan.done) {
    const found = yield* scan.next();
    any ||= found.length > 0;
    if (compare.target === 'value') {
      const given = compare.value;
      const kvs = yield* toKeyValues(state, found, false);
      const order = kvs.map((kv) => compareBytes(kv.value, given));
      if (!order.every((sign) => satisfies(sign, compare.result))) return false;
    } else if (!found.every(({ head }) => holdsFor(compare, head, undefined))) {
      return false;
    }
  }
  return any || holdsFor(compare, undefined, undefined);
}

/** A missing key has zeros for numbers and the lease, and never satisfies a compare of its value. */
function holdsFor(compare: Compare, head: Head | undefined, row: Uint8Array | undefined): boolean {
  switch (compare.target) {
    case 'version':
      return satisfies((head?.version ?? 0) - compare.value, compare.result);
    case 'create':
      return satisfies((head?.create ?? 0) - compare.value, compare.result);
    case 'mod':
      return satisfies((head?.modMain ?? 0) - compare.value, compare.result);
    case 'lease': {
      const stored = head?.lease ?? NO_LEASE;
      const order = stored === compare.value ? 0 : stored < compare.value ? -1 : 1;
      return satisfies(order, compare.result);
    }
    case 'value':
      return (
        row !== undefined && satisfies(compareBytes(rowValue(row), compare.value), compare.result)
      );
  }
}

function satisfies(order: number, result: CompareResult): boolean {
  switch (result) {
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
