import type { TxnOp, WriteRequest } from '@kvorum/base';

/** The member's account of its disk space, shared by its replicas. */
export interface SpaceAccount {
  /** What a replica's store takes now. */
  readonly report: (shard: string, bytes: number) => void;
  /** The quota is used up: nothing that grows the store is taken any more. */
  readonly isFull: () => boolean;
}

/** Whether a request can grow the store. Deletes and compactions stay allowed when it is full, as in etcd. */
export function growsStore(request: WriteRequest | TxnOp): boolean {
  switch (request.op) {
    case 'put':
      return true;
    case 'txn':
      return request.success.some(growsStore) || request.failure.some(growsStore);
    default:
      return false;
  }
}
