import { KvError, type WatchRequest } from '@kvorum/base';
import { type ShardMap, type SlotSpan, shardOfSlot, slotOfRange, slotSpansOf } from '@kvorum/shard';
import type { WatchPosition } from './resume-token.ts';

/** A part of a watch: of one shard, from one place of its timeline. */
export interface WatchPiece {
  readonly shard: string;
  /** Undefined: the watch is about one slot. */
  readonly slots: readonly SlotSpan[] | undefined;
  /** First revision; 0 = from now. */
  readonly start: number;
}

const spansText = (spans: readonly SlotSpan[]): string =>
  spans.map(([from, to]) => `${from}-${to}`).join(',');

/** Name of a part in a resume token: `2`, or `2:0-4095,8192-8195` when it is about several slots. */
export function nameOfPiece({ shard, slots }: WatchPiece): string {
  return slots === undefined ? shard : `${shard}:${spansText(slots)}`;
}

function slotsOfName(map: ShardMap, name: string): readonly SlotSpan[] {
  const [shard = '', text] = name.split(':');
  // Tokens of the version before name shards alone.
  if (text === undefined) return slotSpansOf(map, shard);
  return text.split(',').map((span): SlotSpan => {
    const [from = Number.NaN, to = Number.NaN] = span.split('-').map(Number);
    if (Number.isInteger(from) && Number.isInteger(to)) return [from, to];
    throw new KvError('KV_INVALID_ARGUMENT', 'the resume token is not one of this cluster');
  });
}

/** The shards that have these slots now, each with its part of them. */
function ownersOf(map: ShardMap, slots: readonly SlotSpan[]): ReadonlyMap<string, SlotSpan[]> {
  const owners = new Map<string, SlotSpan[]>();
  for (const range of map.slots) {
    for (const [from, to] of slots) {
      const span: SlotSpan = [Math.max(from, range.from), Math.min(to, range.to)];
      if (span[0] > span[1]) continue;
      owners.set(range.shard, [...(owners.get(range.shard) ?? []), span]);
    }
  }
  return owners;
}

function slotOf(map: ShardMap, { key, rangeEnd }: WatchRequest): number | undefined {
  return slotOfRange(key, rangeEnd ?? new Uint8Array(0), map.rules);
}

/** Where the parts of a watch begin: as a resume token says, else at the start that was asked for. */
export function watchPieces(
  map: ShardMap,
  request: WatchRequest,
  resume: WatchPosition | undefined,
): readonly WatchPiece[] {
  const asked = request.startRevision ?? 0;
  const slot = slotOf(map, request);
  if (slot !== undefined) {
    const [start = asked] = resume?.values() ?? [];
    return [{ shard: shardOfSlot(map, slot), slots: undefined, start }];
  }
  const named = [...(resume ?? [])].map(([name, start]) => ({
    start,
    owners: ownersOf(map, slotsOfName(map, name)),
  }));
  return [...ownersOf(map, [[0, Number.MAX_SAFE_INTEGER]])].flatMap(([shard, slots]) => {
    const given = named.flatMap(({ owners, start }): WatchPiece[] => {
      const own = owners.get(shard);
      return own === undefined ? [] : [{ shard, slots: own, start }];
    });
    return given.length > 0 ? given : [{ shard, slots, start: asked }];
  });
}

/** A part whose slots have moved, where they are now. */
export function placedAnew(
  map: ShardMap,
  request: WatchRequest,
  piece: WatchPiece,
): readonly WatchPiece[] {
  const { slots, start } = piece;
  const slot = slotOf(map, request);
  if (slot !== undefined) return [{ shard: shardOfSlot(map, slot), slots: undefined, start }];
  return [...ownersOf(map, slots ?? [])].map(([shard, own]) => ({ shard, slots: own, start }));
}
