import { fromUtf8, type ShardId, shardId, toHex } from '@kvorum/base';
import type { SlotSpace, SlotSpan } from '@kvorum/mvcc';
import { initialShardMap, type ShardMap, SLOT_COUNT } from '@kvorum/shard';
import type { SimMember } from '../member.ts';
import { shardUidOf } from '../member.ts';

/** Groups of keys that stay together: key `s3/k1` is of group 3, and all of a group lies in one slot. */
export const GROUPS = 6;

export const GROUP_IDS: readonly ShardId[] = Array.from({ length: GROUPS }, (_, i) => shardId(i));

const GROUP = /^s(\d+)\//;

function firstSlot(group: number): number {
  return Math.floor((group * SLOT_COUNT) / GROUPS);
}

/** All slots that belong to a group. */
export function spanOfGroup(group: number): SlotSpan {
  return [firstSlot(group), firstSlot(group + 1) - 1];
}

/** The slot that a group's keys lie in. */
export function slotOfGroup(group: number): number {
  return firstSlot(group);
}

function slotOfKey(key: Uint8Array): number {
  const group = GROUP.exec(fromUtf8(key))?.[1];
  return group === undefined ? 0 : slotOfGroup(Number(group) % GROUPS);
}

/** Every range that the simulation asks for stays in its group. */
export function slotSpace(startsEmpty: boolean): SlotSpace {
  return {
    count: SLOT_COUNT,
    ofKey: slotOfKey,
    ofRange: (key) => slotOfKey(key),
    startsEmpty,
  };
}

/** The shard that owns a group's keys by a map. */
export function shardOfGroup(map: ShardMap, group: ShardId): ShardId {
  const slot = slotOfGroup(Number(group));
  const range = map.slots.find(({ from, to }) => from <= slot && slot <= to);
  return range?.shard ?? shardId(0);
}

/** `dataShards` shards, the last of them made for a move: it has no slots yet. */
export function firstMapOf(members: readonly SimMember[], dataShards: number): ShardMap {
  const uids = Array.from({ length: dataShards }, (_, i) => toHex(shardUidOf(shardId(i))));
  const map = initialShardMap({
    clusterId: '00000000000000aa',
    shardCount: dataShards - 1,
    members: members.map(({ index, name }) => ({
      id: (index + 1).toString(16).padStart(16, '0'),
      name,
      peer: `${name}:1`,
      client: `${name}:2`,
    })),
    rules: [],
    replicas: members.length,
    uids: uids.slice(0, -1),
  });
  const [first] = map.shards;
  const [uid] = uids.slice(-1);
  if (first === undefined || uid === undefined) throw new RangeError('a map has a shard');
  const made = { ...first, id: shardId(dataShards - 1), uid, startsEmpty: true };
  return { ...map, shards: [...map.shards, made] };
}

/** The same shards from the beginning to the end. */
export function fixedMapOf(members: readonly SimMember[], dataShards: number): ShardMap {
  const map = firstMapOf(members, dataShards + 1);
  return { ...map, shards: map.shards.slice(0, -1) };
}
