import { assert, compareBytes, isOpenEnd, type ShardId } from '@kvorum/base';
import { fixedRoutingPart, type RoutingRule, slotOf, slotOfPart } from './routing-part.ts';
import type { ShardMap } from './shard-map.ts';

/** The shard that serves a slot. */
export function shardOfSlot(map: ShardMap, slot: number): ShardId {
  let low = 0;
  let high = map.slots.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = map.slots[middle];
    assert(range !== undefined, `no slot range ${middle}`);
    if (range.to < slot) low = middle + 1;
    else high = middle;
  }
  const found = map.slots[low];
  assert(
    found !== undefined && found.from <= slot && slot <= found.to,
    `no shard has slot ${slot}`,
  );
  return found.shard;
}

/** The shard that serves a key. */
export function shardOfKey(map: ShardMap, key: Uint8Array): ShardId {
  const [only] = map.slots;
  if (map.slots.length === 1 && only !== undefined) return only.shard;
  return shardOfSlot(map, slotOf(key, map.rules));
}

/** Every shard that serves keys, in the order of their first slot. */
export function shardsWithSlots(map: ShardMap): readonly ShardId[] {
  return [...new Set(map.slots.map(({ shard }) => shard))];
}

/** Whether the range holds at most the key `key` itself. */
function isSingleKey(key: Uint8Array, rangeEnd: Uint8Array): boolean {
  if (rangeEnd.length === 0) return true;
  if (isOpenEnd(rangeEnd)) return false;
  if (compareBytes(rangeEnd, key) <= 0) return true;
  // key followed by one zero byte is the very next key.
  const isNext = rangeEnd.length === key.length + 1 && rangeEnd[key.length] === 0;
  return isNext && compareBytes(rangeEnd.subarray(0, key.length), key) === 0;
}

/** The longest prefix that all keys of [key, rangeEnd) share. */
export function commonPrefix(key: Uint8Array, rangeEnd: Uint8Array): Uint8Array {
  if (isOpenEnd(rangeEnd)) return key.subarray(0, 0);
  let length = 0;
  while (length < key.length && key[length] === rangeEnd[length]) length += 1;
  // At `length` the two differ. When the end is just the next sibling (a/ .. a0), the byte of the key is shared too, and
  // with it any 0xff bytes after it: between x 0xff and x+1 lie only keys starting with x 0xff.
  const isSibling =
    length < key.length &&
    rangeEnd.length === length + 1 &&
    rangeEnd[length] === (key[length] as number) + 1;
  if (isSibling) {
    length += 1;
    while (key[length] === 0xff) length += 1;
  }
  return key.subarray(0, length);
}

/** The one slot of all keys of an etcd range; undefined when they may lie in several. `rangeEnd` as below. */
export function slotOfRange(
  key: Uint8Array,
  rangeEnd: Uint8Array,
  rules: readonly RoutingRule[],
): number | undefined {
  if (isSingleKey(key, rangeEnd)) return slotOf(key, rules);
  const part = fixedRoutingPart(commonPrefix(key, rangeEnd), rules);
  return part === undefined ? undefined : slotOfPart(part);
}

/**
 * The shards that can hold keys of an etcd range: one for a single key and for ranges whose routing part is fixed by their
 * common prefix, else every shard with slots.
 *
 * @param rangeEnd - absent or empty: the single key; one zero byte: no upper bound.
 */
export function shardsOfRange(
  map: ShardMap,
  key: Uint8Array,
  rangeEnd?: Uint8Array,
): readonly ShardId[] {
  if (map.slots.length === 1 || rangeEnd === undefined || isSingleKey(key, rangeEnd)) {
    return [shardOfKey(map, key)];
  }
  const slot = slotOfRange(key, rangeEnd, map.rules);
  return slot === undefined ? shardsWithSlots(map) : [shardOfSlot(map, slot)];
}
