import type { WatchEvent } from '@kvorum/base';
import { byteText } from './binary.ts';
import { getMany, type Reading } from './reading.ts';
import {
  decodeHead,
  rowIsTombstone,
  rowKey,
  rowKeyValue,
  rowMain,
  rowPrevMain,
  rowPrevStoreKey,
} from './row-codec.ts';
import { rowEvent } from './write-set.ts';

const EVENT_OVERHEAD_BYTES = 64;

/** Events collected for one watcher. */
export interface Outgoing {
  readonly events: WatchEvent[];
  bytes: number;
}

/** A revision row with what watchers may want of it, made once for all of them. */
export interface Change {
  readonly row: Uint8Array;
  readonly main: number;
  readonly keyText: string;
  readonly tombstone: boolean;
  /** -1 until somebody asks. */
  slot: number;
  event: WatchEvent | undefined;
  prevEvent: WatchEvent | undefined;
}

/**
 * Fetches the previous values that are asked for. Of a change at or below the revision `floor` the previous row may or may
 * not have been removed by compaction yet: it counts as gone.
 *
 * @returns the revision of a live version that was not found; a tombstone may have been compacted. Undefined when all were.
 */
export function* attachPrevious(
  changes: readonly Change[],
  floor: number,
  wanted: (change: Change) => boolean,
): Reading<number | undefined> {
  const asking = changes.filter(
    (change) => rowPrevMain(change.row) > 0 && change.main > floor && wanted(change),
  );
  const rows = yield* getMany(asking.map(({ row }) => rowPrevStoreKey(row)));
  let missing: number | undefined;
  for (const [i, change] of asking.entries()) {
    const previous = rows[i];
    if (previous === undefined && replacesLive(change.row)) missing ??= rowPrevMain(change.row);
    // A tombstone is no previous value.
    if (previous === undefined || rowIsTombstone(previous)) continue;
    change.prevEvent = { ...eventOf(change), prevKv: rowKeyValue(previous) };
  }
  return missing;
}

/** Only what lives is deleted, and the first version after a deletion is 1. */
function replacesLive(row: Uint8Array): boolean {
  const { deleted, version } = decodeHead(row);
  return deleted || version > 1;
}

export function changeOf(row: Uint8Array): Change {
  return {
    row,
    main: rowMain(row),
    keyText: byteText(rowKey(row)),
    tombstone: rowIsTombstone(row),
    slot: -1,
    event: undefined,
    prevEvent: undefined,
  };
}

/** Adds a change to what a watcher is to be given. */
export function collect(
  outgoing: Outgoing,
  watcher: { readonly prevKv: boolean },
  change: Change,
): void {
  const event = watcher.prevKv ? (change.prevEvent ?? eventOf(change)) : eventOf(change);
  outgoing.events.push(event);
  const previous =
    event.prevKv === undefined ? 0 : event.prevKv.key.length + event.prevKv.value.length;
  outgoing.bytes += EVENT_OVERHEAD_BYTES + change.row.length + previous;
}

function eventOf(change: Change): WatchEvent {
  change.event ??= rowEvent(change.row);
  return change.event;
}
