import {
  type Compare,
  compareBytes,
  EMPTY_BYTES,
  KvError,
  type KvRequest,
  type Limits,
  NO_LEASE,
  type PutRequest,
  type RangeRequest,
  type TxnOp,
  type TxnRequest,
} from '@kvorum/base';
import { byteText } from './binary.ts';
import { KeyIntervals } from './key-intervals.ts';

const SORT_ORDERS: readonly string[] = ['none', 'ascend', 'descend'];
const SORT_TARGETS: readonly string[] = ['key', 'version', 'create', 'mod', 'value'];
const COMPARE_RESULTS: readonly string[] = ['equal', 'greater', 'less', 'not-equal'];
const COMPARE_TARGETS: readonly string[] = ['version', 'create', 'mod', 'value', 'lease'];
const OP_OVERHEAD_BYTES = 16;

/**
 * The checks that need no state, in etcd's order: empty keys, flags, sort options; for a txn the number of operations
 * before duplicate keys; the request's size last.
 *
 * Source: etcd server/etcdserver/api/v3rpc/key.go (checkTxnRequest, checkIntervals).
 */
export function validate(request: KvRequest, limits: Limits): KvError | undefined {
  const fault =
    request.op === 'txn'
      ? (checkTxn(request, limits, limits.txnOpsMax, 1) ?? checkDuplicates(request))
      : checkOp(request);
  if (fault !== undefined) return fault;
  const actual = request.op === 'compact' ? 0 : opBytes(request);
  if (actual <= limits.requestBytesMax) return undefined;
  return new KvError('KV_REQUEST_TOO_LARGE', undefined, {
    details: { limit: limits.requestBytesMax, actual },
  });
}

/** True when a txn holds nothing but ranges in both branches: it is served as a read. A nested txn is a write. */
export function isReadOnly(txn: TxnRequest): boolean {
  const isRange = (op: TxnOp): boolean => op.op === 'range';
  return txn.success.every(isRange) && txn.failure.every(isRange);
}

/**
 * Whether a request asks for whatever the answering replica has: every range in it is serializable, and there is nothing
 * else.
 */
export function isSerializable(request: KvRequest): boolean {
  if (request.op === 'range') return request.serializable === true;
  if (request.op !== 'txn') return false;
  const ops = [...request.success, ...request.failure];
  return ops.length > 0 && ops.every((op) => op.op === 'range' && op.serializable === true);
}

function checkOp(request: Exclude<KvRequest, TxnRequest>): KvError | undefined {
  switch (request.op) {
    case 'range':
      return checkRange(request);
    case 'put':
      return checkPut(request);
    case 'delete-range':
      return request.key.length === 0 ? new KvError('KV_EMPTY_KEY') : undefined;
    case 'compact':
      return Number.isSafeInteger(request.revision)
        ? undefined
        : new KvError('KV_INVALID_ARGUMENT', 'revision must be an integer');
    default:
      // An operation of no known kind; etcd answers so for a RequestOp without a member.
      return new KvError('KV_KEY_NOT_FOUND');
  }
}

function checkRange(request: RangeRequest): KvError | undefined {
  if (request.key.length === 0) return new KvError('KV_EMPTY_KEY');
  const { sortOrder = 'none', sortTarget = 'key' } = request;
  if (!SORT_ORDERS.includes(sortOrder) || !SORT_TARGETS.includes(sortTarget)) {
    return new KvError('KV_INVALID_SORT');
  }
  return undefined;
}

function checkPut(request: PutRequest): KvError | undefined {
  if (request.key.length === 0) return new KvError('KV_EMPTY_KEY');
  if (request.ignoreValue === true && request.value.length > 0) {
    return new KvError('KV_VALUE_PROVIDED');
  }
  if (request.ignoreLease === true && (request.lease ?? NO_LEASE) !== NO_LEASE) {
    return new KvError('KV_LEASE_PROVIDED');
  }
  return undefined;
}

function checkTxn(
  txn: TxnRequest,
  limits: Limits,
  opsMax: number,
  depth: number,
): KvError | undefined {
  const count = Math.max(txn.compare.length, txn.success.length, txn.failure.length);
  if (count > opsMax) {
    return new KvError('KV_TOO_MANY_OPS', undefined, { details: { limit: opsMax, actual: count } });
  }
  if (depth > limits.txnDepthMax) {
    return new KvError('KV_TOO_MANY_OPS', `nested deeper than ${limits.txnDepthMax}`, {
      details: { limit: limits.txnDepthMax, actual: depth },
    });
  }
  for (const compare of txn.compare) {
    const fault = checkCompare(compare);
    if (fault !== undefined) return fault;
  }
  for (const branch of [txn.success, txn.failure]) {
    for (const op of branch) {
      const fault = op.op === 'txn' ? checkTxn(op, limits, opsMax - count, depth + 1) : checkOp(op);
      if (fault !== undefined) return fault;
    }
  }
  return undefined;
}

function checkCompare(compare: Compare): KvError | undefined {
  if (compare.key.length === 0) return new KvError('KV_EMPTY_KEY');
  if (!COMPARE_RESULTS.includes(compare.result) || !COMPARE_TARGETS.includes(compare.target)) {
    return new KvError('KV_INVALID_ARGUMENT', 'unknown compare result or target');
  }
  return undefined;
}

/** What one level of a txn may write, seen from the level above. */
interface Writes {
  readonly puts: Set<string>;
  readonly deletes: KeyIntervals;
}

class DuplicateKey {}

function checkDuplicates(txn: TxnRequest): KvError | undefined {
  for (const branch of [txn.success, txn.failure]) {
    if (collectWrites(branch) instanceof DuplicateKey) return new KvError('KV_DUPLICATE_KEY');
  }
  return undefined;
}

/**
 * The writes of a branch, unless two of them that can both run touch one key. Deletes may overlap, and so may the two
 * branches of one nested txn. The order (deletes of this level, nested txns, puts) is etcd's and decides corner cases.
 */
function collectWrites(ops: readonly TxnOp[]): Writes | DuplicateKey {
  const writes: Writes = { puts: new Set(), deletes: new KeyIntervals() };
  for (const op of ops) {
    if (op.op === 'delete-range') writes.deletes.addRange(op.key, op.rangeEnd ?? EMPTY_BYTES);
  }
  for (const op of ops) {
    if (op.op === 'txn' && !addNested(writes, op)) return new DuplicateKey();
  }
  for (const op of ops) {
    if (op.op === 'put' && !addPuts(writes, [byteText(op.key)])) return new DuplicateKey();
  }
  return writes;
}

/** Both branches of a nested txn may put the same key; false = a clash with what is there. */
function addNested(writes: Writes, txn: TxnRequest): boolean {
  const success = collectWrites(txn.success);
  const failure = collectWrites(txn.failure);
  if (success instanceof DuplicateKey || failure instanceof DuplicateKey) return false;
  const added = addPuts(writes, success.puts) && addPuts(writes, failure.puts, success.puts);
  writes.deletes.addAll(success.deletes);
  writes.deletes.addAll(failure.deletes);
  return added;
}

function addPuts(writes: Writes, texts: Iterable<string>, safe?: ReadonlySet<string>): boolean {
  for (const text of texts) {
    const twice = writes.puts.has(text) && safe?.has(text) !== true;
    if (twice || writes.deletes.has(text)) return false;
    writes.puts.add(text);
  }
  return true;
}

/** About what the request weighs on the wire. */
function opBytes(op: TxnOp): number {
  switch (op.op) {
    case 'put':
      return OP_OVERHEAD_BYTES + op.key.length + op.value.length;
    case 'range':
    case 'delete-range':
      return OP_OVERHEAD_BYTES + op.key.length + (op.rangeEnd?.length ?? 0);
    default: {
      let bytes = OP_OVERHEAD_BYTES;
      for (const compare of op.compare) bytes += compareSize(compare);
      for (const inner of op.success) bytes += opBytes(inner);
      for (const inner of op.failure) bytes += opBytes(inner);
      return bytes;
    }
  }
}

function compareSize(compare: Compare): number {
  const value = compare.target === 'value' ? compare.value.length : 0;
  return OP_OVERHEAD_BYTES + compare.key.length + (compare.rangeEnd?.length ?? 0) + value;
}

/** Whether an etcd range can hold any key at all. */
export function isEmptyRange(key: Uint8Array, rangeEnd: Uint8Array): boolean {
  const open = rangeEnd.length === 1 && rangeEnd[0] === 0;
  return rangeEnd.length > 0 && !open && compareBytes(key, rangeEnd) >= 0;
}
