import {
  type Compare,
  EMPTY_BYTES,
  type KvRequest,
  type LeaseId,
  NO_LEASE,
  type PutRequest,
  type TxnOp,
  type TxnRequest,
  type WatchRequest,
} from '@kvorum/base';
import { type KeySpan, spanOf } from './key-spans.ts';

/** What a request needs of whoever sends it, with all that is nested in it. */
export interface Needs {
  readonly reads: KeySpan[];
  readonly writes: KeySpan[];
  /** The right to write every key that hangs on them. */
  readonly leases: LeaseId[];
  /** The right to read every key that hangs on them. */
  readonly leaseReads: LeaseId[];
  /** The same for every lease there is. */
  readonly allLeases: boolean;
  /** The role root. */
  root: boolean;
}

/** Of a request that touches nothing. */
export function noNeeds(): Needs {
  return { reads: [], writes: [], leases: [], leaseReads: [], allLeases: false, root: false };
}

/** What a request of the key-value service needs. */
export function needsOf(request: KvRequest): Needs {
  const needs = noNeeds();
  if (request.op === 'compact') needs.root = true;
  else addOperation(needs, request);
  return needs;
}

/** etcd takes the empty key of a watch for the first key there can be. */
const FIRST_KEY = new Uint8Array([0]);

/** What a watch needs: the right to read every key it could ever tell of. */
export function needsOfWatch(request: Pick<WatchRequest, 'key' | 'rangeEnd'>): Needs {
  const { key, rangeEnd = EMPTY_BYTES } = request;
  const needs = noNeeds();
  needs.reads.push(spanOf(key.length === 0 ? FIRST_KEY : key, rangeEnd));
  return needs;
}

function addOperation(needs: Needs, operation: TxnOp): void {
  switch (operation.op) {
    case 'txn':
      addTxn(needs, operation);
      return;
    case 'put':
      addPut(needs, operation);
      return;
    case 'range':
      needs.reads.push(spanOf(operation.key, operation.rangeEnd ?? EMPTY_BYTES));
      return;
    case 'delete-range': {
      const span = spanOf(operation.key, operation.rangeEnd ?? EMPTY_BYTES);
      needs.writes.push(span);
      if (operation.prevKv === true) needs.reads.push(span);
      return;
    }
    default:
      // What nobody knows, nobody but root may do.
      needs.root = true;
  }
}

function addPut(needs: Needs, { key, prevKv, lease = NO_LEASE }: PutRequest): void {
  const span = spanOf(key, EMPTY_BYTES);
  needs.writes.push(span);
  if (prevKv === true) needs.reads.push(span);
  if (lease !== NO_LEASE) needs.leases.push(lease);
}

/** Both branches: which one is taken depends on keys, and would tell of them. */
function addTxn(needs: Needs, txn: TxnRequest): void {
  for (const compare of txn.compare) needs.reads.push(spanOfCompare(compare));
  for (const operation of txn.success) addOperation(needs, operation);
  for (const operation of txn.failure) addOperation(needs, operation);
}

function spanOfCompare({ key, rangeEnd = EMPTY_BYTES }: Compare): KeySpan {
  return spanOf(key, rangeEnd);
}
