import type { KvRequest, TxnOp, TxnRequest } from '@kvorum/base';
import { type KeyRange, keyRange, keyText } from './key-text.ts';
import type { RecordedOperation, RecordedResponse } from './recorded-history.ts';

/** What an answer shows that its request wrote; `undetermined`: the answer does not tell. */
export function didWrite(
  request: KvRequest | TxnOp,
  response: RecordedResponse,
): boolean | 'undetermined' {
  switch (request.op) {
    case 'put':
      return true;
    case 'range':
    case 'compact':
      return false;
    case 'delete-range':
      return response.op === 'delete-range' && response.deleted > 0;
    case 'txn': {
      if (response.op !== 'txn') return false;
      const ops = response.succeeded ? request.success : request.failure;
      const parts = ops.map((op, i) => {
        const inner = response.responses?.[i];
        if (inner !== undefined) return didWrite(op, inner);
        return op.op === 'put' ? true : op.op === 'range' ? false : 'undetermined';
      });
      if (parts.includes(true)) return true;
      return parts.includes('undetermined') ? 'undetermined' : false;
    }
  }
}

/** What a request could write, whichever way its compares go. */
export interface PossibleWrites {
  readonly puts: readonly { readonly key: string; readonly value: string | undefined }[];
  readonly deletes: readonly KeyRange[];
}

export function possibleWrites({ request, result }: RecordedOperation): PossibleWrites {
  const writes = { puts: [], deletes: [] };
  addWrites(request, result.outcome === 'ok' ? result.response : undefined, writes);
  return writes;
}

function addWrites(
  op: KvRequest | TxnOp,
  response: RecordedResponse | undefined,
  writes: {
    readonly puts: { key: string; value: string | undefined }[];
    readonly deletes: KeyRange[];
  },
): void {
  if (op.op === 'put') {
    const value = op.ignoreValue === true ? undefined : keyText(op.value);
    writes.puts.push({ key: keyText(op.key), value });
  } else if (op.op === 'delete-range') {
    writes.deletes.push(keyRange(op.key, op.rangeEnd));
  } else if (op.op === 'txn') {
    const taken = response?.op === 'txn' ? response : undefined;
    for (const [i, inner] of branchOf(op, taken?.succeeded).entries()) {
      addWrites(inner, taken?.responses?.[i], writes);
    }
  }
}

/** The ops of the branch taken; of both when that is not known. */
export function branchOf(txn: TxnRequest, succeeded: boolean | undefined): readonly TxnOp[] {
  if (succeeded === undefined) return [...txn.success, ...txn.failure];
  return succeeded ? txn.success : txn.failure;
}

/** The keys that a request may put under a lease. */
export function leasedKeys(op: KvRequest | TxnOp): readonly string[] {
  if (op.op === 'put') return (op.lease ?? 0n) === 0n ? [] : [keyText(op.key)];
  return op.op === 'txn' ? branchOf(op, undefined).flatMap(leasedKeys) : [];
}
