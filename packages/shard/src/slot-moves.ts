import { assert, KvError, type ShardId, shardId } from '@kvorum/base';
import type { ShardEntry, ShardMap, SlotMove, SlotRange } from './shard-map.ts';

export type SlotSpan = readonly [from: number, to: number];

/** The home of all leases: it is in every map, with slots or without. */
export const LEASE_HOME: ShardId = shardId(0);

/** What is to move where; the ids are given by whoever begins it. */
export type PlannedMove = Pick<SlotMove, 'from' | 'to' | 'slots'>;

/** Slots of a shard, ascending. */
export function slotSpansOf(map: ShardMap, shard: string): readonly SlotSpan[] {
  return map.slots.filter((range) => range.shard === shard).map(({ from, to }) => [from, to]);
}

export function movesOf(map: ShardMap): readonly SlotMove[] {
  return map.moves ?? [];
}

/** Numbers for new shards; no number is ever used twice. */
export function nextShardIds(map: ShardMap, count: number): readonly ShardId[] {
  const numbers = map.shards.map(({ id }) => Number(id)).filter(Number.isInteger);
  const next = Math.max(map.shardsMade ?? 0, ...numbers.map((number) => number + 1));
  return Array.from({ length: count }, (_, i) => shardId(next + i));
}

/**
 * The map with new shards, empty until they adopt slots, and with moves begun.
 *
 * Errors: KV_INVALID_ARGUMENT while other moves are under way, since the plan was made for a map that will not stay.
 */
export function beginMoves(
  map: ShardMap,
  plan: { readonly shards: readonly ShardEntry[]; readonly moves: readonly PlannedMove[] },
  moveIds: readonly string[],
): ShardMap {
  if (movesOf(map).length > 0) {
    throw new KvError('KV_INVALID_ARGUMENT', 'slots are moving already', {
      details: { hint: 'wait for them (kvctl shard status), or stop them (kvctl shard abort)' },
    });
  }
  assert(moveIds.length >= plan.moves.length, 'every move needs an id');
  const moves = plan.moves.map(
    (move, i): SlotMove => ({ ...move, id: moveIds[i] as string, phase: 'copying', attempt: 1 }),
  );
  const shards = [...map.shards, ...plan.shards];
  const numbers = shards.map(({ id }) => Number(id)).filter(Number.isInteger);
  const shardsMade = Math.max(map.shardsMade ?? 0, ...numbers.map((number) => number + 1));
  return { ...map, shards, shardsMade, moves };
}

function changeMove(
  map: ShardMap,
  id: string,
  change: (move: SlotMove) => SlotMove | undefined,
): ShardMap | undefined {
  const found = movesOf(map).find((move) => move.id === id);
  const changed = found === undefined ? undefined : change(found);
  if (changed === undefined) return undefined;
  return { ...map, moves: movesOf(map).map((move) => (move === found ? changed : move)) };
}

/**
 * The slots belong to the shard that has copied them from now on. Undefined unless the move is still in this attempt: the slots may
 * be served by their old shard again.
 */
export function switchMove(map: ShardMap, id: string, attempt: number): ShardMap | undefined {
  const found = movesOf(map).find((move) => move.id === id);
  const switched = changeMove(map, id, (move) =>
    move.phase === 'copying' && move.attempt === attempt
      ? { ...move, phase: 'switched' }
      : undefined,
  );
  if (switched === undefined || found === undefined) return undefined;
  return { ...switched, slots: reassigned(map.slots, found.slots, found.to) };
}

/** The hand-over of this attempt takes too long: its freeze is void. Undefined when it is decided already. */
export function retryMove(map: ShardMap, id: string, attempt: number): ShardMap | undefined {
  return changeMove(map, id, (move) =>
    move.phase === 'copying' && move.attempt === attempt
      ? { ...move, attempt: attempt + 1 }
      : undefined,
  );
}

/** Undefined when there is nothing to abort: it is switched, or over. */
export function abortMove(map: ShardMap, id: string): ShardMap | undefined {
  return changeMove(map, id, (move) =>
    move.phase === 'copying'
      ? { ...move, phase: 'aborting', attempt: move.attempt + 1 }
      : undefined,
  );
}

/** Takes a move out that is decided; undefined when it is not, or is out already. */
export function finishMove(map: ShardMap, id: string): ShardMap | undefined {
  if (movesOf(map).some((move) => move.id === id && move.phase === 'copying')) return undefined;
  const moves = movesOf(map).filter((move) => move.id !== id);
  if (moves.length === movesOf(map).length) return undefined;
  const { moves: _, ...rest } = map;
  return moves.length === 0 ? rest : { ...rest, moves };
}

/** Whether a shard is left over: it has no slots, none will come, and it is not the home of the leases. */
export function isLeftOver(map: ShardMap, shard: string): boolean {
  const known = map.shards.some(({ id }) => id === shard);
  const busy = movesOf(map).some(({ from, to }) => from === shard || to === shard);
  return (
    known &&
    shard !== 'meta' &&
    shard !== LEASE_HOME &&
    !busy &&
    slotSpansOf(map, shard).length === 0
  );
}

/** Takes a left-over shard out; undefined when it is none. */
export function retireShard(map: ShardMap, shard: string): ShardMap | undefined {
  if (!isLeftOver(map, shard)) return undefined;
  return { ...map, shards: map.shards.filter(({ id }) => id !== shard) };
}

function reassigned(
  slots: readonly SlotRange[],
  moved: readonly SlotSpan[],
  shard: ShardId,
): readonly SlotRange[] {
  let rest: SlotRange[] = [...slots];
  for (const [from, to] of moved) {
    rest = rest.flatMap((range) => {
      if (to < range.from || range.to < from) return [range];
      const parts: SlotRange[] = [];
      if (range.from < from) parts.push({ ...range, to: from - 1 });
      if (range.to > to) parts.push({ ...range, from: to + 1 });
      return parts;
    });
    rest.push({ from, to, shard });
  }
  rest.sort((a, b) => a.from - b.from);
  return joined(rest);
}

function joined(slots: readonly SlotRange[]): readonly SlotRange[] {
  const out: SlotRange[] = [];
  for (const range of slots) {
    const last = out.at(-1);
    if (last !== undefined && last.shard === range.shard && last.to + 1 === range.from) {
      out[out.length - 1] = { ...last, to: range.to };
    } else {
      out.push(range);
    }
  }
  return out;
}
