import type { KvRequest, RangeRequest, TxnOp, TxnRequest } from '@kvorum/base';

/** Whether a request needs no log record: a range, or a transaction of nothing but ranges. */
export function isReadOnly(request: KvRequest): request is RangeRequest | TxnRequest {
  if (request.op === 'range') return true;
  return request.op === 'txn' && [...request.success, ...request.failure].every(isReadOnly);
}

/** About the bytes a request carries: its keys and values. */
export function requestBytes(request: KvRequest): number {
  switch (request.op) {
    case 'put':
      return request.key.length + request.value.length;
    case 'range':
    case 'delete-range':
      return request.key.length + (request.rangeEnd?.length ?? 0);
    case 'compact':
      return 8;
    case 'txn': {
      let bytes = 0;
      for (const compare of request.compare) {
        bytes += compare.key.length + (compare.rangeEnd?.length ?? 0);
        if (compare.target === 'value') bytes += compare.value.length;
      }
      for (const op of request.success) bytes += requestBytes(op);
      for (const op of request.failure) bytes += requestBytes(op);
      return bytes;
    }
  }
}

const isSingle = (rangeEnd: Uint8Array | undefined): boolean =>
  rangeEnd === undefined || rangeEnd.length === 0;

/** Whether every single key a request names passes `test`; ranges are not judged here. Empty keys pass: mvcc refuses them. */
export function requestKeysIn(request: KvRequest, test: (key: Uint8Array) => boolean): boolean {
  switch (request.op) {
    case 'put':
      return request.key.length === 0 || test(request.key);
    case 'range':
    case 'delete-range':
      return request.key.length === 0 || !isSingle(request.rangeEnd) || test(request.key);
    case 'compact':
      return true;
    case 'txn': {
      const ops: readonly TxnOp[] = [...request.success, ...request.failure];
      return (
        request.compare.every((c) => !isSingle(c.rangeEnd) || test(c.key)) &&
        ops.every((op) => requestKeysIn(op, test))
      );
    }
  }
}
