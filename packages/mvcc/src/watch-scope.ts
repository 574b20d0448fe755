import {
  type SlotSpace,
  type SlotSpan,
  type SlotTable,
  spansMeet,
  subtractSpans,
} from './slot-ownership.ts';

/** Where a watch begins, and how far back its history goes. */
export interface WatchStart {
  readonly from: number;
  /** First revision from which the history of its slots is whole, while the shard's compact revision is `compactedBefore`. */
  readonly floor: number;
  /** -2 = the floor is the shard's compact revision, at least. */
  readonly compactedBefore: number;
}

/** The slots that a watch can be about; undefined = any of the shard. */
export function scopeOf(
  request: {
    readonly key: Uint8Array;
    readonly rangeEnd: Uint8Array;
    readonly slots: readonly SlotSpan[] | undefined;
  },
  space: SlotSpace | undefined,
): readonly SlotSpan[] | undefined {
  if (space === undefined) return undefined;
  const { key, rangeEnd } = request;
  const slot = rangeEnd.length === 0 ? space.ofKey(key) : space.ofRange(key, rangeEnd);
  return slot === undefined ? request.slots : [[slot, slot]];
}

/**
 * Watchers of slots that came from another shard count by that shard's revisions until they have seen all it had: those are kept
 * in the imported rows. Between the source's last revision and the adoption nothing happened to the slots, so whoever stands
 * there goes on after the adoption.
 */
export function importedStart(
  slots: SlotTable | undefined,
  scope: readonly SlotSpan[] | undefined,
  asked: number,
): WatchStart {
  const plain = { from: asked, floor: -1, compactedBefore: -2 };
  if (slots === undefined) return plain;
  const met = slots.ownership.imports.filter(
    (one) => one.state === 'adopted' && (scope === undefined || spansMeet(one.slots, scope)),
  );
  const [only] = met;
  const whole =
    only !== undefined && scope !== undefined && subtractSpans(scope, only.slots).length === 0;
  if (!whole) return { ...plain, floor: met.reduce((at, { floor }) => Math.max(at, floor), -1) };
  const { floor, sealed, adopted, compactedBefore } = only;
  const from = asked > sealed ? Math.max(asked, adopted + 1) : asked;
  return { from, floor, compactedBefore };
}
