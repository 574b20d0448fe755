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
  toHex,
  unreachable,
  utf8,
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

/** Of the keys of a refused request; the others are counted. */
const NAMED_MAX = 8;
const NAME_BYTES_MAX = 48;

/** A key, or the start of a range, with the shards it lies in. */
interface Named {
  readonly key: Uint8Array;
  readonly isRange: boolean;
  readonly shards: readonly ShardId[];
}

function shortened(key: Uint8Array): string {
  const cut = key.length > NAME_BYTES_MAX;
  const text = fromUtf8(cut ? key.subarray(0, NAME_BYTES_MAX) : key);
  // A range over everything begins with a zero byte.
  const seen = text.replace(/\p{Cc}/gu, (one) => `\\x${toHex(utf8(one))}`);
  return `${seen}${cut ? '…' : ''}`;
}

function whereIs({ key, isRange, shards }: Named, isFirst: boolean): string {
  const name = `"${shortened(key)}"`;
  if (isRange && shards.length > 1) {
    return `a range starting at ${name} spans the shards ${shards.join(', ')}`;
  }
  return isFirst ? `${name} lies in shard ${shards[0]}` : `${name} in shard ${shards[0]}`;
}

/** One of every shard first, so that it is seen why they do not fit together. */
function mostTelling(all: readonly Named[]): readonly Named[] {
  const different = new Map(all.map((one) => [`${one.isRange} ${fromUtf8(one.key)}`, one]));
  const named = [...different.values()];
  if (named.length <= NAMED_MAX) return named;
  const ofShards = new Map(named.toReversed().map((one) => [one.shards.join(), one]));
  const first = [...ofShards.values()].toReversed();
  return [...first, ...named.filter((one) => !first.includes(one))].slice(0, NAMED_MAX);
}

/** A tag out of the names that are there: before a key it decides the key's shard alone. */
function tagHint(named: readonly Named[]): string {
  const [first] = named;
  const name = first === undefined ? '' : fromUtf8(first.key.subarray(0, NAME_BYTES_MAX));
  const tag = /[\p{L}\p{N}._-]+/u.exec(name)?.[0] ?? 'tag';
  const examples = named
    .slice(0, 2)
    .map(({ key, isRange }) => `"{${tag}}${isRange ? '…' : shortened(key)}"`);
  return (
    `Give the keys one {tag} so that they share a shard, for example ${examples.join(' and ')}, ` +
    'or configure a routing rule for their prefix.'
  );
}

/** KV_CROSS_SHARD that names the keys, the shards they lie in and a tag that would bring them together. */
function crossShardError(map: ShardMap, all: readonly Named[]): KvError {
  const named = mostTelling(all);
  const rest = new Set(all.map(({ key }) => fromUtf8(key))).size - named.length;
  const text = named.map((one, at) => whereIs(one, at === 0)).join(', ');
  return new KvError('KV_CROSS_SHARD', rest > 0 ? `${text} and ${rest} more` : text, {
    details: { mapVersion: map.version, hint: tagHint(named) },
  });
}

/** What a request at one revision is refused with when its range lies in several shards: each has revisions of its own. */
export function crossShardRange(
  map: ShardMap,
  key: Uint8Array,
  shards: readonly ShardId[],
): KvError {
  const one = { key, isRange: true, shards };
  const text = `${whereIs(one, true)}, and every shard has revisions of its own`;
  const hint = `Ask without a revision, or one shard at a time. ${tagHint([one])}`;
  return new KvError('KV_CROSS_SHARD', text, { details: { mapVersion: map.version, hint } });
}

function route(shards: readonly ShardId[]): Route {
  const [shard] = shards;
  assert(shard !== undefined, 'a request without a shard');
  return shards.length === 1 ? { kind: 'shard', shard } : { kind: 'fan-out', shards };
}

/**
 * The owner look-up of etcd's lock and election recipes: the oldest or newest key directly below a directory. Lock keys have no
 * directories below them, so the directory's own shard knows the answer, and the recipes work on the sharded key space: what they
 * do next is to watch from the revision of this answer on, which must be that of this shard.
 * Source: etcd client/v3/concurrency/mutex.go (`getOwner`), key.go (`waitDeletes`), election.go (`Leader`, `observe`).
 */
function isOwnerLookup(range: RangeRequest): boolean {
  const { key, rangeEnd, limit, sortTarget } = range;
  if (limit !== 1 || sortTarget !== 'create' || rangeEnd === undefined) return false;
  return key.at(-1) === 0x2f && compareBytes(rangeEnd, prefixEnd(key)) === 0;
}

function named(map: ShardMap, key: Uint8Array, rangeEnd?: Uint8Array): Named {
  const isRange = rangeEnd !== undefined && rangeEnd.length > 0;
  return { key, isRange, shards: shardsOfRange(map, key, rangeEnd) };
}

/** Every key and range that a txn names, in both branches: which branch runs is only known inside. */
function* namedByTxn(map: ShardMap, txn: TxnRequest): Generator<Named> {
  for (const { key, rangeEnd } of txn.compare) {
    yield named(map, key, rangeEnd);
  }
  for (const op of [...txn.success, ...txn.failure]) {
    switch (op.op) {
      case 'txn':
        yield* namedByTxn(map, op);
        break;
      case 'put':
        yield named(map, op.key);
        break;
      case 'range':
        yield named(map, op.key, isOwnerLookup(op) ? undefined : op.rangeEnd);
        break;
      case 'delete-range':
        yield named(map, op.key, op.rangeEnd);
        break;
      default:
        unreachable(op);
    }
  }
}

function routeTxn(map: ShardMap, txn: TxnRequest): Route {
  let first: ShardId | undefined;
  for (const { shards } of namedByTxn(map, txn)) {
    const [shard] = shards;
    assert(shard !== undefined, 'a key without a shard');
    first ??= shard;
    if (shards.length === 1 && shard === first) continue;
    return { kind: 'refused', error: crossShardError(map, [...namedByTxn(map, txn)]) };
  }
  // A txn that names no key may run anywhere.
  return route(first === undefined ? shardsWithSlots(map).slice(0, 1) : [first]);
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
      if (isOwnerLookup(request)) return { kind: 'shard', shard: shardOfKey(map, request.key) };
      return route(shardsOfRange(map, request.key, request.rangeEnd));
    case 'delete-range': {
      const shards = shardsOfRange(map, request.key, request.rangeEnd);
      if (shards.length === 1) return route(shards);
      const error = crossShardError(map, [{ key: request.key, isRange: true, shards }]);
      return { kind: 'refused', error };
    }
    case 'txn':
      return routeTxn(map, request);
    case 'compact':
      return route(shardsWithSlots(map));
    default:
      return unreachable(request);
  }
}
