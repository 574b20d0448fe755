import type { ShardId } from '@kvorum/base';
import type { SlotWeight } from './slot-weights.ts';

/** Slots of one shard. */
export interface ShardSlots {
  readonly shard: ShardId;
  readonly slots: readonly number[];
}

export interface SlotsMoved extends ShardSlots {
  readonly to: ShardId;
}

/** A shard this far above its even share is left alone: load wavers, and every move costs a copy. */
const TOLERANCE = 1.1;

interface Share {
  readonly shard: ShardId;
  weight: number;
}

/**
 * Which slots of the heavy shards go to which light ones so that all weigh about the same: the heaviest slots first, each to the
 * shard that is lightest then, unless that would make it a heavy one. So a slot that weighs more than a whole share stays where
 * it is, and the others leave it. A shard gives or takes, never both.
 */
export function evenOut(shards: readonly ShardSlots[], weight: SlotWeight): readonly SlotsMoved[] {
  const weightOf = (slots: readonly number[]): number =>
    slots.reduce((sum, slot) => sum + weight(slot), 0);
  const shares = shards.map((one) => ({ ...one, weight: weightOf(one.slots) }));
  const even = shares.reduce((sum, share) => sum + share.weight, 0) / shares.length;
  const takers: Share[] = shares.filter((share) => share.weight < even);
  const givers = shares.filter((share) => share.weight > even * TOLERANCE);
  return givers.flatMap((giver) => give(giver, { takers, even, weight }));
}

function give(
  giver: ShardSlots & Share,
  parts: { readonly takers: readonly Share[]; readonly even: number; readonly weight: SlotWeight },
): readonly SlotsMoved[] {
  const { takers, even, weight } = parts;
  const given = new Map<ShardId, number[]>();
  const heaviestFirst = [...giver.slots].sort((a, b) => weight(b) - weight(a) || b - a);
  let left = heaviestFirst.length;
  for (const slot of heaviestFirst) {
    const moving = weight(slot);
    const taker = lightest(takers);
    if (taker === undefined || left === 1 || giver.weight <= even) break;
    if (taker.weight + moving > even * TOLERANCE) continue;
    taker.weight += moving;
    giver.weight -= moving;
    left -= 1;
    const slots = given.get(taker.shard) ?? [];
    slots.push(slot);
    given.set(taker.shard, slots);
  }
  return [...given].map(([to, slots]) => ({ shard: giver.shard, to, slots }));
}

function lightest(shares: readonly Share[]): Share | undefined {
  let found = shares[0];
  for (const share of shares) if (found !== undefined && share.weight < found.weight) found = share;
  return found;
}

/** The slots that leave a shard when it is halved by weight: the one that weighs more than all others together, or the last ones. */
export function secondHalf(slots: readonly number[], weight: SlotWeight): readonly number[] {
  const total = slots.reduce((sum, slot) => sum + weight(slot), 0);
  const alone = slots.find((slot) => weight(slot) > total / 2);
  if (alone !== undefined) return [alone];
  let kept = 0;
  let at = 0;
  for (const [i, slot] of slots.entries()) {
    const next = kept + weight(slot);
    const isCloser = Math.abs(next - total / 2) <= Math.abs(kept - total / 2);
    if (i > 0 && (!isCloser || i === slots.length - 1)) break;
    kept = next;
    at = i + 1;
  }
  return slots.slice(at);
}
