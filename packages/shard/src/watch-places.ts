import { KvError, type ShardId } from '@kvorum/base';
import { SLOT_COUNT } from './routing-part.ts';
import type { ShardMap } from './shard-map.ts';
import { slotOfRange } from './shards-of-range.ts';
import { type SlotSpan, slotSpansOf } from './slot-moves.ts';

/** Slots of one shard. */
export interface ShardSlots {
  readonly shard: ShardId;
  readonly slots: readonly SlotSpan[];
}

/** A part of a watch: some slots of one shard, and the first revision of theirs to deliver; undefined = what happens from now on. */
export interface WatchPlace extends ShardSlots {
  readonly start: number | undefined;
}

/** The shards that have these slots now, each with its part of them. */
export function ownersOfSlots(map: ShardMap, slots: readonly SlotSpan[]): readonly ShardSlots[] {
  const pieces = new Map<ShardId, SlotSpan[]>();
  for (const range of map.slots) {
    for (const [from, to] of slots) {
      const first = Math.max(from, range.from);
      const last = Math.min(to, range.to);
      if (first > last) continue;
      pieces.set(range.shard, [...(pieces.get(range.shard) ?? []), [first, last]]);
    }
  }
  return [...pieces].map(([shard, spans]) => ({ shard, slots: spans }));
}

/** The shards that hold a part of a range, each with the slots that it has of it. */
export function piecesOfRange(
  map: ShardMap,
  key: Uint8Array,
  rangeEnd: Uint8Array | undefined,
): readonly ShardSlots[] {
  const slot = slotOfRange(key, rangeEnd ?? new Uint8Array(0), map.rules);
  return ownersOfSlots(map, slot === undefined ? [[0, SLOT_COUNT - 1]] : [[slot, slot]]);
}

/**
 * How a place is called where somebody keeps it to go on from later: `2:0-4095,8192-8200`, with its slots, since by then they may be
 * elsewhere.
 */
export function nameOfPlace({ shard, slots }: ShardSlots): string {
  return `${shard}:${slots.map(([from, to]) => `${from}-${to}`).join(',')}`;
}

/**
 * Where the parts of a watch begin: slots that a name of `positions` has at its revision, wherever they are now; all others at
 * `otherwise`.
 *
 * Errors: KV_INVALID_ARGUMENT for what is no name, and for a bare shard once slots have moved: nobody knows which ones it stood for.
 */
export function placesOfWatch(
  map: ShardMap,
  pieces: readonly ShardSlots[],
  positions: ReadonlyMap<string, number>,
  otherwise: number | undefined,
): readonly WatchPlace[] {
  const [piece] = pieces;
  const isOneSlot = pieces.length === 1 && piece !== undefined && countOf(piece.slots) === 1;
  if (isOneSlot && positions.size === 1) {
    return [{ ...piece, start: [...positions.values()][0] }];
  }
  const named = [...positions].map(([name, start]) => ({ slots: slotsOfName(map, name), start }));
  return pieces.flatMap(({ shard, slots }) => {
    let rest = slots;
    const places: WatchPlace[] = [];
    for (const { slots: wanted, start } of named) {
      const common = meetOf(rest, wanted);
      if (common.length === 0) continue;
      rest = without(rest, wanted);
      places.push({ shard, slots: common, start });
    }
    return rest.length === 0 ? places : [...places, { shard, slots: rest, start: otherwise }];
  });
}

const countOf = (spans: readonly SlotSpan[]): number =>
  spans.reduce((sum, [from, to]) => sum + to - from + 1, 0);

function meetOf(spans: readonly SlotSpan[], others: readonly SlotSpan[]): readonly SlotSpan[] {
  return spans.flatMap(([from, to]) =>
    others.flatMap(([first, last]): SlotSpan[] => {
      const common: SlotSpan = [Math.max(from, first), Math.min(to, last)];
      return common[0] > common[1] ? [] : [common];
    }),
  );
}

function without(spans: readonly SlotSpan[], gone: readonly SlotSpan[]): readonly SlotSpan[] {
  let left = spans;
  for (const [first, last] of gone) {
    left = left.flatMap(([from, to]): SlotSpan[] => {
      if (last < from || to < first) return [[from, to]];
      const sides: SlotSpan[] = [
        [from, first - 1],
        [last + 1, to],
      ];
      return sides.filter((side) => side[0] <= side[1]);
    });
  }
  return left;
}

function slotsOfName(map: ShardMap, name: string): readonly SlotSpan[] {
  const [shard = '', text] = name.split(':');
  if (text === undefined) {
    if (map.shardsMade === undefined) return slotSpansOf(map, shard);
    throw new KvError('KV_INVALID_ARGUMENT', `slots have moved since a watch stood at ${name}`, {
      details: { hint: 'read the keys, then watch from there' },
    });
  }
  return text.split(',').map((span): SlotSpan => {
    const match = /^(\d{1,5})-(\d{1,5})$/.exec(span);
    const [from, to] = [Number(match?.[1]), Number(match?.[2])];
    if (from <= to && to < SLOT_COUNT) return [from, to];
    throw new KvError('KV_INVALID_ARGUMENT', `${name} is no place of a watch`);
  });
}
