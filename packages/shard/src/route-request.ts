import {
  assert,
  compareBytes,
  fromUtf8,
  KvError,
  type KvRequest,
  prefixEnd,
  type RangeRequest,
  type ShardId,
  type TxnRequest,
  unreachable,
} from '@kvorum/base';
import type { ShardMap } from './shard-map.ts';
import { shardOfKey, shardsOfRange, shardsWithSlots } from './shards-of-range.ts';

/** Where a request goes. */
export type Route =
  | { readonly kind: 'shard'; readonly shard: ShardId }
  /** The same request goes to each of them, and the answers are merged; never atomic over them. */
  | { readonly kind: 'fan-out'; readonly shards: readonly ShardId[] }
  /** KV_CROSS_SHARD. */
  | { readonly kind: 'refused'; readonly error: KvError };

const HINT =
  'Give the keys one tag so that they share a shard, for example {user1}/name and {user1}/mail, or configure a routing rule ' +
  'for their prefix.';

function crossShard(map: ShardMap, what: string): Route {
  const error = new KvError('KV_CROSS_SHARD', what, {
    details: { mapVersion: map.version, hint: HINT },
  });
  return { kind: 'refused', error };
}

function route(shards: readonly ShardId[]): Route {
  const [shard] = shards;
  assert(shard !== undefined, 'a request without a shard');
  return shards.length === 1 ? { kind: 'shard', shard } : { kind: 'fan-out', shards };
}

/**
 * The owner look-up of etcd's lock recipe: the oldest or newest key directly below a directory. Lock keys have no directories
 * below them, so the directory's own shard knows the answer, and the recipe works on the sharded key space.
 * Source: etcd client/v3/concurrency/mutex.go, `getOwner`.
 */
function isOwnerLookup(range: RangeRequest): boolean {
  const { key, rangeEnd, limit, sortTarget } = range;
  if (limit !== 1 || sortTarget !== 'create' || rangeEnd === undefined) return false;
  return key.at(-1) === 0x2f && compareBytes(rangeEnd, prefixEnd(key)) === 0;
}

interface Named {
  readonly key: Uint8Array;
  readonly shards: readonly ShardId[];
}

/** Every key and range that a txn names, in both branches: which branch runs is only known inside. */
function* namedByTxn(map: ShardMap, txn: TxnRequest): Generator<Named> {
  for (const { key, rangeEnd } of txn.compare) {
    yield { key, shards: shardsOfRange(map, key, rangeEnd) };
  }
  for (const op of [...txn.success, ...txn.failure]) {
    switch (op.op) {
      case 'txn':
        yield* namedByTxn(map, op);
        break;
      case 'put':
        yield { key: op.key, shards: [shardOfKey(map, op.key)] };
        break;
      case 'range':
        yield isOwnerLookup(op)
          ? { key: op.key, shards: [shardOfKey(map, op.key)] }
          : { key: op.key, shards: shardsOfRange(map, op.key, op.rangeEnd) };
        break;
      case 'delete-range':
        yield { key: op.key, shards: shardsOfRange(map, op.key, op.rangeEnd) };
        break;
      default:
        unreachable(op);
    }
  }
}

function routeTxn(map: ShardMap, txn: TxnRequest): Route {
  let first: { readonly key: Uint8Array; readonly shard: ShardId } | undefined;
  for (const { key, shards } of namedByTxn(map, txn)) {
    const [shard] = shards;
    assert(shard !== undefined, 'a key without a shard');
    if (shards.length > 1) {
      return crossShard(
        map,
        `a range starting at "${fromUtf8(key)}" spans ${shards.length} shards`,
      );
    }
    first ??= { key, shard };
    if (shard !== first.shard) {
      const [a, b] = [fromUtf8(first.key), fromUtf8(key)];
      return crossShard(map, `"${a}" lies in shard ${first.shard}, "${b}" in shard ${shard}`);
    }
  }
  // A txn that names no key may run anywhere.
  return route(first === undefined ? shardsWithSlots(map).slice(0, 1) : [first.shard]);
}

/**
 * Where a request goes under this map: to one shard, to several (ranges and compactions), or nowhere because it must be
 * atomic over several shards (transactions and deletes; KV_CROSS_SHARD with a hint).
 */
export function routeRequest(map: ShardMap, request: KvRequest): Route {
  switch (request.op) {
    case 'put':
      return { kind: 'shard', shard: shardOfKey(map, request.key) };
    case 'range':
      return route(shardsOfRange(map, request.key, request.rangeEnd));
    case 'delete-range': {
      const shards = shardsOfRange(map, request.key, request.rangeEnd);
      if (shards.length === 1) return route(shards);
      const key = fromUtf8(request.key);
      return crossShard(map, `a delete starting at "${key}" spans ${shards.length} shards`);
    }
    case 'txn':
      return routeTxn(map, request);
    case 'compact':
      return route(shardsWithSlots(map));
    default:
      return unreachable(request);
  }
}
