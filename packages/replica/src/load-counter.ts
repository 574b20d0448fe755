import type { KeyValue, KvRequest, TxnRequest } from '@kvorum/base';
import type { Proposal, SlotSpace } from '@kvorum/mvcc';
import type { CommandResult } from './api.ts';

/** Where a replica counts what it serves, by slot. */
export interface SlotCounts {
  /** `bytes`: of keys and values read or written. */
  readonly read: (slot: number, bytes: number) => void;
  readonly write: (slot: number, bytes: number) => void;
  /** All that a scan of the shard's newest versions found. */
  readonly setSizes: (
    shard: string,
    sizes: ReadonlyMap<number, { readonly keys: number; readonly bytes: number }>,
  ) => void;
}

/** The key by whose slot a request counts: all keys of a transaction are mostly in one. */
function firstKey(txn: TxnRequest): Uint8Array | undefined {
  const [compare] = txn.compare;
  if (compare !== undefined) return compare.key;
  for (const op of [...txn.success, ...txn.failure]) {
    const key = op.op === 'txn' ? firstKey(op) : op.key;
    if (key !== undefined) return key;
  }
  return undefined;
}

function bytesOf(request: KvRequest): number {
  if (request.op === 'put') return request.key.length + request.value.length;
  if (request.op !== 'txn') return 0;
  return [...request.success, ...request.failure].reduce((sum, op) => sum + bytesOf(op), 0);
}

const bytesOfKv = (kv: KeyValue): number => kv.key.length + kv.value.length;

/** Undefined: nobody wants to know. */
export function loadCounterOf({
  slots,
  load,
}: {
  readonly slots?: SlotSpace;
  readonly load?: SlotCounts;
}): LoadCounter | undefined {
  return slots === undefined || load === undefined ? undefined : new LoadCounter(slots, load);
}

/** Counts what one replica serves. A range over several slots counts for none of them: it is no reason to move one. */
export class LoadCounter {
  readonly #space: SlotSpace;
  readonly #counts: SlotCounts;

  constructor(space: SlotSpace, counts: SlotCounts) {
    this.#space = space;
    this.#counts = counts;
  }

  get(key: Uint8Array, found: KeyValue | undefined): void {
    this.#counts.read(this.#space.ofKey(key), found === undefined ? key.length : bytesOfKv(found));
  }

  read(request: KvRequest, result: CommandResult): void {
    const slot = this.#slotOf(request);
    if (slot === undefined || !result.ok) return;
    const { response } = result;
    const kvs = response.op === 'range' ? response.kvs : [];
    let bytes = 0;
    for (const kv of kvs) bytes += bytesOfKv(kv);
    this.#counts.read(slot, bytes);
  }

  /** Writes on their way into a batch. */
  writes(proposals: readonly Proposal[]): void {
    for (const { request } of proposals) {
      if (request.op === 'slots' || request.op === 'lease') continue;
      const slot = this.#slotOf(request);
      if (slot !== undefined) this.#counts.write(slot, bytesOf(request));
    }
  }

  #slotOf(request: KvRequest): number | undefined {
    switch (request.op) {
      case 'put':
        return this.#space.ofKey(request.key);
      case 'range':
      case 'delete-range':
        return request.rangeEnd === undefined
          ? this.#space.ofKey(request.key)
          : this.#space.ofRange(request.key, request.rangeEnd);
      case 'txn': {
        const key = firstKey(request);
        return key === undefined ? undefined : this.#space.ofKey(key);
      }
      case 'compact':
        return undefined;
    }
  }
}
