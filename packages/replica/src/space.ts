import { KvError, type Limits, type TxnOp, type WriteRequest } from '@kvorum/base';
import { type LeaseCommand, type SlotCommand, validate } from '@kvorum/mvcc';

/** The member's account of its disk space, shared by its replicas. */
export interface SpaceAccount {
  /** What a replica's store takes now. */
  readonly report: (shard: string, bytes: number) => void;
  /** The quota is used up: nothing that grows the store is taken any more. */
  readonly isFull: () => boolean;
}

/** Whether a request can grow the store. Deletes and compactions stay allowed when it is full, as in etcd. */
export function growsStore(request: WriteRequest | TxnOp | SlotCommand | LeaseCommand): boolean {
  switch (request.op) {
    case 'put':
      return true;
    case 'slots':
      return request.action === 'import-rows';
    case 'lease':
      return request.action === 'grant';
    case 'txn':
      return request.success.some(growsStore) || request.failure.some(growsStore);
    default:
      return false;
  }
}

/** Why a write cannot be taken: it is not sound, or grows the store while the quota is used up. */
export function commandFault(
  member: {
    readonly shard: string;
    readonly limits: Limits;
    readonly space?: SpaceAccount;
  },
  request: WriteRequest | SlotCommand | LeaseCommand,
): KvError | undefined {
  const { shard, limits, space } = member;
  const isOwn = request.op === 'slots' || request.op === 'lease';
  const invalid = isOwn ? undefined : validate(request, limits);
  if (invalid !== undefined || space?.isFull() !== true || !growsStore(request)) return invalid;
  return new KvError('KV_NO_SPACE', undefined, {
    details: { shard, limit: limits.quotaBytes, hint: 'kvctl compaction REVISION' },
  });
}
