import { KvError, META_SHARD, type ShardId } from '@kvorum/base';
import { SLOT_COUNT } from './routing-part.ts';
import type { ShardEntry, ShardMap } from './shard-map.ts';
import {
  LEASE_HOME,
  nextShardIds,
  type PlannedMove,
  type SlotSpan,
  slotSpansOf,
} from './slot-moves.ts';
import type { SlotWeight } from './slot-weights.ts';
import { evenOut, secondHalf } from './weighted-plan.ts';

export interface MovePlan {
  /** To be added to the map, empty. */
  readonly shards: readonly ShardEntry[];
  readonly moves: readonly PlannedMove[];
}

/** What a plan needs from outside: one uid (32 hex digits) for each new shard. */
export type NewUid = () => string;

const ONE: SlotWeight = () => 1;

/** Data shards that have slots, or are to get some, in the order of their numbers. */
function dataShards(map: ShardMap): readonly ShardEntry[] {
  return map.shards
    .filter(({ id }) => id !== META_SHARD)
    .sort((a, b) => Number(a.id) - Number(b.id));
}

/** Members in the order in which they should get the next replica: those with the fewest leaderships and replicas first. */
function newShard(
  map: ShardMap,
  made: readonly ShardEntry[],
  id: ShardId,
  uid: string,
): ShardEntry {
  const shards = [...map.shards, ...made];
  const active = map.members.filter(({ state }) => state === undefined || state === 'active');
  const members = active.length > 0 ? active : map.members;
  const ledBy = (member: string): number =>
    shards.filter(({ voters }) => voters[0] === member).length;
  const heldBy = (member: string): number =>
    shards.filter(({ voters }) => voters.includes(member)).length;
  const wanted = map.replicas ?? 0;
  const count = wanted === 0 ? members.length : Math.min(wanted, members.length);
  const [first, ...others] = members
    .map((member) => member.id)
    .sort((a, b) => ledBy(a) - ledBy(b) || heldBy(a) - heldBy(b));
  const rest = others.sort((a, b) => heldBy(a) - heldBy(b)).slice(0, count - 1);
  const voters = first === undefined ? rest : [first, ...rest];
  return { id, uid, generation: 0, voters, startsEmpty: true };
}

function makeShards(map: ShardMap, count: number, newUid: NewUid): readonly ShardEntry[] {
  const made: ShardEntry[] = [];
  for (const id of nextShardIds(map, count)) made.push(newShard(map, made, id, newUid()));
  return made;
}

/** The plan for another number of shards: all with the same number of slots or one more, and as few slots moved as that takes. */
export function planScale(map: ShardMap, shardCount: number, newUid: NewUid): MovePlan {
  if (!(Number.isSafeInteger(shardCount) && shardCount >= 1 && shardCount <= SLOT_COUNT)) {
    throw new KvError('KV_INVALID_ARGUMENT', `shards must be 1..${SLOT_COUNT}: ${shardCount}`);
  }
  // The home of the leases is there anyway: it comes first, also when it has given all its slots away.
  const present = dataShards(map).filter(
    ({ id }) => id === LEASE_HOME || slotSpansOf(map, id).length > 0,
  );
  const shards = makeShards(map, Math.max(0, shardCount - present.length), newUid);
  const kept = [...present.slice(0, shardCount), ...shards].map(({ id }) => id);
  return { shards, moves: spread(map, kept, ONE) };
}

/**
 * The plan to even the weight of the shards out without changing their number.
 *
 * @param weight - absent: every slot counts as one, and as few as possible move.
 */
export function planRebalance(map: ShardMap, weight?: SlotWeight): MovePlan {
  const present = dataShards(map).filter(({ id }) => slotSpansOf(map, id).length > 0);
  if (weight !== undefined) {
    const held = present.map(({ id }) => ({ shard: id, slots: slotsOf(map, id) }));
    const moves = evenOut(held, weight).map(({ shard: from, to, slots }) => {
      return { from, to, slots: spansOf(slots) };
    });
    return { shards: [], moves };
  }
  return {
    shards: [],
    moves: spread(
      map,
      present.map(({ id }) => id),
      ONE,
    ),
  };
}

/** Half of a shard by weight, into a new one. */
export function planSplit(
  map: ShardMap,
  shard: string,
  newUid: NewUid,
  weight: SlotWeight = ONE,
): MovePlan {
  const from = shardWithSlots(map, shard);
  const slots = slotsOf(map, from);
  if (slots.length < 2) {
    throw new KvError(
      'KV_INVALID_ARGUMENT',
      `shard ${shard} has one slot only: it cannot be split`,
    );
  }
  const shards = makeShards(map, 1, newUid);
  const [made] = shards;
  const to = (made as ShardEntry).id;
  return { shards, moves: [{ from, to, slots: spansOf(secondHalf(slots, weight)) }] };
}

/** All slots of a shard into another one. */
export function planMerge(map: ShardMap, from: string, to: string): MovePlan {
  const giver = shardWithSlots(map, from);
  const isHome = dataShards(map).some(({ id }) => id === to && id === LEASE_HOME);
  const taker = isHome ? LEASE_HOME : shardWithSlots(map, to);
  if (giver === taker)
    throw new KvError('KV_INVALID_ARGUMENT', 'a shard cannot be merged into itself');
  return { shards: [], moves: [{ from: giver, to: taker, slots: slotSpansOf(map, giver) }] };
}

function shardWithSlots(map: ShardMap, shard: string): ShardId {
  const entry = dataShards(map).find(({ id }) => id === shard);
  if (entry !== undefined && slotSpansOf(map, shard).length > 0) return entry.id;
  throw new KvError('KV_NOT_FOUND', `no shard ${shard} with slots`, { details: { shard } });
}

function slotsOf(map: ShardMap, shard: string): readonly number[] {
  return slotSpansOf(map, shard).flatMap(([from, to]) =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i),
  );
}

function spansOf(slots: readonly number[]): readonly SlotSpan[] {
  const out: [number, number][] = [];
  for (const slot of [...slots].sort((a, b) => a - b)) {
    const last = out.at(-1);
    if (last !== undefined && last[1] + 1 === slot) last[1] = slot;
    else out.push([slot, slot]);
  }
  return out;
}

interface Share {
  readonly shard: ShardId;
  readonly slots: number[];
  weight: number;
  wanted: number;
}

/**
 * Moves that leave the slots with the shards of `kept` only, each with about the same weight. A shard gives or takes, never both:
 * whoever is above its share gives its last slots away.
 */
function spread(
  map: ShardMap,
  kept: readonly ShardId[],
  weight: SlotWeight,
): readonly PlannedMove[] {
  const sumOf = (slots: readonly number[]): number =>
    slots.reduce((sum, slot) => sum + weight(slot), 0);
  const ids = new Set([...kept, ...dataShards(map).map(({ id }) => id)]);
  const shares = [...ids].map((shard): Share => {
    const slots = [...slotsOf(map, shard)];
    return { shard, slots, weight: sumOf(slots), wanted: 0 };
  });
  const total = shares.reduce((sum, share) => sum + share.weight, 0);
  // Who has most keeps the odd one: the fewest slots move.
  const takers = shares.filter(({ shard }) => kept.includes(shard));
  takers.sort((a, b) => b.weight - a.weight || Number(a.shard) - Number(b.shard));
  for (const [i, share] of takers.entries()) {
    share.wanted = Math.floor(total / kept.length) + (i < Math.floor(total % kept.length) ? 1 : 0);
  }
  const givers = shares.filter((share) => share.weight > share.wanted);
  const getters = takers.filter((share) => !givers.includes(share));
  return givers.flatMap((giver) =>
    give(giver, { getters, empties: !kept.includes(giver.shard), weight }),
  );
}

interface Giving {
  readonly getters: readonly Share[];
  /** The shard is to keep nothing. */
  readonly empties: boolean;
  readonly weight: SlotWeight;
}

function give(giver: Share, { getters, empties, weight }: Giving): readonly PlannedMove[] {
  const moves = new Map<ShardId, number[]>();
  for (let slot = giver.slots.at(-1); slot !== undefined; slot = giver.slots.at(-1)) {
    const moving = weight(slot);
    const getter = getterOf(getters, moving) ?? (empties ? lightest(getters) : undefined);
    const staysAbove = empties || giver.weight - moving >= giver.wanted;
    if (getter === undefined || !staysAbove) break;
    giver.slots.pop();
    giver.weight -= moving;
    getter.weight += moving;
    moves.set(getter.shard, [...(moves.get(getter.shard) ?? []), slot]);
  }
  return [...moves].map(([to, slots]) => ({ from: giver.shard, to, slots: spansOf(slots) }));
}

function getterOf(getters: readonly Share[], moving: number): Share | undefined {
  return getters.find((share) => share.weight + moving <= share.wanted);
}

function lightest(shares: readonly Share[]): Share | undefined {
  return shares.toSorted((a, b) => a.weight - b.weight)[0];
}
