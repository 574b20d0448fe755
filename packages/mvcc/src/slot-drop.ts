import { byteText } from './binary.ts';
import { newestRows } from './compaction.ts';
import { keyAfter, type Reading, scanChunk } from './reading.ts';
import { headKey, revisionKey, rowKey } from './row-codec.ts';
import { type SlotOwnership, type SlotSpace, type SlotSpan, spansHold } from './slot-ownership.ts';

/** A part of history that a step drops the rows of some slots from. */
export interface DroppedPart {
  readonly slots: readonly SlotSpan[];
  /** Store keys. */
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
}

/** What a step's own deletes leave of the part that it drops. */
export interface LeftRows {
  readonly deletes: readonly Uint8Array[];
  /** Store key at which to look on; undefined = that was all. */
  readonly next: Uint8Array | undefined;
}

/** What the step from one ownership to the next drops; undefined = nothing. */
export function droppedPart(before: SlotOwnership, after: SlotOwnership): DroppedPart | undefined {
  for (const { move, slots, main, sub, through } of before.drops) {
    const rest = after.drops.find((one) => one.move === move);
    if (rest?.main === main && rest.sub === sub) continue;
    const lt = rest === undefined ? revisionKey(through + 1, 0) : revisionKey(rest.main, rest.sub);
    return { slots, gte: revisionKey(main, sub), lt };
  }
  return undefined;
}

/**
 * Rows of a dropped part that the step does not name, some at a time: a compaction had taken them where it was decided, and has
 * not come to them here. It never would, once the rows that tell it of them are gone.
 *
 * @param named - store keys that the step deletes itself.
 */
export function* leftRows(
  { slots, gte, lt }: DroppedPart,
  named: readonly Uint8Array[],
  space: SlotSpace,
): Reading<LeftRows> {
  const rows = yield* scanChunk(gte, lt);
  const known = new Set(named.map(byteText));
  const left = rows.filter(
    ([storeKey, row]) =>
      spansHold(slots, space.ofKey(rowKey(row))) && !known.has(byteText(storeKey)),
  );
  const deletes = left.map(([storeKey]) => storeKey);
  for (const row of yield* newestRows(left.map(([, row]) => row)))
    deletes.push(headKey(rowKey(row)));
  const last = rows.at(-1);
  return { deletes, next: last === undefined ? undefined : keyAfter(last[0]) };
}
