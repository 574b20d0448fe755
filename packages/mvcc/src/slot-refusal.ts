import type { KvError, KvRequest } from '@kvorum/base';
import type { SlotTable } from './slot-ownership.ts';

/** Why a shard cannot take a request: a key of it, in either branch of a txn, is not its own; undefined = it can. */
export function requestRefusal(
  slots: SlotTable,
  request: KvRequest,
  mapVersion: number,
): KvError | undefined {
  switch (request.op) {
    case 'compact':
      return undefined;
    case 'put':
      return slots.refusal(request.key, undefined, mapVersion);
    case 'range':
    case 'delete-range':
      return slots.refusal(request.key, request.rangeEnd, mapVersion);
    case 'txn':
      for (const { key, rangeEnd } of request.compare) {
        const refusal = slots.refusal(key, rangeEnd, mapVersion);
        if (refusal !== undefined) return refusal;
      }
      for (const op of [...request.success, ...request.failure]) {
        const refusal = requestRefusal(slots, op, mapVersion);
        if (refusal !== undefined) return refusal;
      }
      return undefined;
  }
}
