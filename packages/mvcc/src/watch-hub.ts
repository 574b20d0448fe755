import {
  assert,
  copyBytes,
  EMPTY_BYTES,
  err,
  isOpenEnd,
  KvError,
  ok,
  type Result,
  type Revision,
  type WatchEvent,
  type WatchRequest,
} from '@kvorum/base';
import { byteText } from './binary.ts';
import type { Applied } from './engine.ts';
import { type Reading, SCAN_ROWS_MAX } from './reading.ts';
import { rowKey, rowMain } from './row-codec.ts';
import {
  type SlotSpan,
  type SlotTable,
  spansHold,
  spansMeet,
  subtractSpans,
} from './slot-ownership.ts';
import { isEmptyRange } from './validate.ts';
import { attachPrevious, type Change, changeOf, collect, type Outgoing } from './watch-change.ts';
import { importedStart, scopeOf, type WatchStart } from './watch-scope.ts';
import { wholeRevisions } from './whole-revisions.ts';
import { writeSetRows } from './write-set.ts';

/** Events of whole revisions, in order; `revision` is the last one. No events = a progress mark. */
export interface WatchBatch {
  readonly events: readonly WatchEvent[];
  readonly revision: Revision;
  /** About what the events take in memory. */
  readonly bytes: number;
}

export interface WatchSink {
  /** False = refused, nothing was taken: the hub offers it again from disk after `resume`. */
  deliver(watchId: number, batch: WatchBatch): boolean;
  /** The watcher is gone: its next revision was compacted. */
  cancelled(watchId: number, compactRevision: number): void;
  /** The watcher is gone: slots of it are served by another shard. What it was given is everything up to then or less. */
  moved(watchId: number, error: KvError): void;
}

/** What the hub knows of its shard; the engine is one. */
export interface WatchedState {
  readonly revision: number;
  readonly compactRevision: number;
  readonly slotTable?: SlotTable | undefined;
  readonly slotSpace?: SlotTable['space'] | undefined;
}

interface Watcher {
  readonly id: number;
  readonly wantsPut: boolean;
  readonly wantsDelete: boolean;
  readonly prevKv: boolean;
  readonly progressNotify: boolean;
  /** As asked for: no progress is reported below it. */
  readonly asked: number;
  readonly group: Group;
  /** Slots of its keys; undefined = any. */
  readonly scope: readonly SlotSpan[] | undefined;
  readonly start: WatchStart;
  /** First revision not yet delivered. */
  next: number;
  synced: boolean;
  /** Its consumer refused a batch and has not asked for more. */
  blocked: boolean;
  /** Had a batch since the last progress tick. */
  busy: boolean;
}

/** The watchers of one range of keys. `to` undefined = no upper bound. */
interface Group {
  readonly text: string;
  readonly from: string;
  readonly to: string | undefined;
  readonly point: boolean;
  readonly watchers: Set<Watcher>;
}

/**
 * Fans applied changes out to watchers. A watcher is *synced* (gets changes as they are applied) or *unsynced* (is served
 * from the revision rows on disk, chunk by chunk, until it has caught up). The hub holds no events: a consumer that
 * refuses a batch falls back to disk.
 *
 * What the shell must keep to: `onApplied` after the store write of every applied write set, in order, one at a time, and
 * before the first compaction step after it; `catchUp` one at a time, whenever `hasUnsynced`. The two may overlap.
 *
 * Invariant: a watcher has been given every matching event below `next` and none from it on; it is synced only when
 * `next` is above the hub's revision. So nothing is lost or doubled when it changes sides.
 */
export class WatchHub {
  private readonly sink: WatchSink;
  private readonly state: WatchedState;
  private readonly watchers = new Map<number, Watcher>();
  private readonly points = new Map<string, Group>();
  private readonly ranges = new Map<string, Group>();
  private readonly unsynced = new Set<Watcher>();
  private prevKvCount = 0;
  /** Newest revision taken on; its events may still be on their way through `onApplied`. */
  private currentRevision: number;
  private deliveredRevision: number;
  private compactedTo: number;

  /** @param state - looked at again for the slots that the shard owns, which change. */
  constructor(sink: WatchSink, state: WatchedState) {
    this.sink = sink;
    this.state = state;
    this.currentRevision = state.revision;
    this.deliveredRevision = state.revision;
    this.compactedTo = state.compactRevision;
  }

  get size(): number {
    return this.watchers.size;
  }

  /** Whether `catchUp` has anything to do: somebody is behind and his consumer takes batches. */
  get hasUnsynced(): boolean {
    for (const { blocked } of this.unsynced) if (!blocked) return true;
    return false;
  }

  get unsyncedCount(): number {
    return this.unsynced.size;
  }

  /**
   * Starts a watcher. An empty key means the lowest one, as in etcd.
   *
   * @param currentRevision - the engine's revision now; a start at 0 means after it. It may lie above the start.
   * Errors: KV_COMPACTED (with compactRevision in the details; without them for a negative start), KV_INVALID_ARGUMENT for
   * an empty range or an id in use, in etcd's words; KV_WRONG_SHARD when slots of it are not here.
   */
  add(
    watchId: number,
    request: WatchRequest,
    currentRevision: number,
  ): Result<{ readonly startRevision: number }, KvError> {
    const key = request.key.length === 0 ? new Uint8Array([0]) : copyBytes(request.key);
    const rangeEnd = copyBytes(request.rangeEnd ?? EMPTY_BYTES);
    const asked = request.startRevision ?? 0;
    const { slotTable, slotSpace } = this.state;
    const scope = scopeOf({ key, rangeEnd, slots: request.slots }, slotSpace);
    const start = importedStart(slotTable, scope, asked);
    const fault =
      this.checkAdd(watchId, { key, rangeEnd, asked: start.from }, start) ??
      foreignScope(slotTable, scope);
    if (fault !== undefined) return err(fault);
    const next = asked === 0 ? currentRevision + 1 : start.from;
    const group = this.groupFor(key, rangeEnd);
    const watcher: Watcher = {
      id: watchId,
      wantsPut: request.filters?.includes('no-put') !== true,
      wantsDelete: request.filters?.includes('no-delete') !== true,
      prevKv: request.prevKv === true,
      progressNotify: request.progressNotify === true,
      asked,
      group,
      scope,
      start,
      next,
      synced: next > this.currentRevision,
      blocked: false,
      busy: false,
    };
    group.watchers.add(watcher);
    this.watchers.set(watchId, watcher);
    if (watcher.prevKv) this.prevKvCount += 1;
    if (!watcher.synced) this.unsynced.add(watcher);
    return ok({ startRevision: next });
  }

  /** Ends a watcher; false when there is none of this id. Nothing is delivered to it afterwards. */
  cancel(watchId: number): boolean {
    const watcher = this.watchers.get(watchId);
    if (watcher === undefined) return false;
    this.watchers.delete(watchId);
    this.unsynced.delete(watcher);
    if (watcher.prevKv) this.prevKvCount -= 1;
    const { group } = watcher;
    group.watchers.delete(watcher);
    if (group.watchers.size === 0) (group.point ? this.points : this.ranges).delete(group.text);
    return true;
  }

  /** The consumer of a watcher has room again. */
  resume(watchId: number): void {
    const watcher = this.watchers.get(watchId);
    if (watcher !== undefined) watcher.blocked = false;
  }

  /**
   * Delivers what was applied to the synced watchers. Reads only when a matching watcher wants previous values.
   * Costs nothing but two assignments when there are no watchers.
   */
  *onApplied(applied: Applied): Reading<void> {
    this.currentRevision = applied.revision;
    const floor = this.compactedTo;
    this.compactedTo = applied.compactRevision;
    if (applied.compacted) this.cancelCompacted();
    // Rows of a restore are history of the cluster that was backed up: nobody is told of them, nor can they be read yet.
    const isNews = !applied.writeSet.isRestored;
    if (isNews && this.watchers.size > this.unsynced.size) yield* this.deliverAll(applied, floor);
    this.deliveredRevision = applied.revision;
    if (applied.released.length > 0) this.release(applied.released);
  }

  /**
   * Watchers leave with the freeze, so that none is told of a later revision of this shard: to the shard that adopts the slots it
   * would mean another moment. Whoever has seen everything so far is told so first.
   */
  private release(slots: readonly SlotSpan[]): void {
    const revision = this.deliveredRevision as Revision;
    for (const watcher of [...this.watchers.values()]) {
      if (watcher.scope !== undefined && !spansMeet(watcher.scope, slots)) continue;
      if (this.mayReport(watcher))
        this.sink.deliver(watcher.id, { events: [], revision, bytes: 0 });
      this.cancel(watcher.id);
      const error = this.state.slotTable?.wrongShard(slots[0]?.[0]);
      this.sink.moved(watcher.id, error ?? new KvError('KV_WRONG_SHARD'));
    }
  }

  private *deliverAll(applied: Applied, floor: number): Reading<void> {
    let part: Change[] = [];
    for (const row of writeSetRows(applied.writeSet)) {
      // Previous values are held while a part is delivered, so parts are bounded; a revision is never split.
      const full = this.prevKvCount > 0 && part.length >= SCAN_ROWS_MAX;
      if (full && part.at(-1)?.main !== rowMain(row)) {
        yield* this.deliverLive(part, floor);
        part = [];
      }
      part.push(changeOf(row));
    }
    yield* this.deliverLive(part, floor);
  }

  /**
   * Serves the unsynced watchers the next chunk of history, in one scan for all that stand within it.
   * Call again while `hasUnsynced`.
   */
  *catchUp(): Reading<void> {
    const from = this.lowestNext();
    if (from === undefined) return;
    const upTo = this.currentRevision;
    const rows = yield* wholeRevisions(from, upTo);
    const changes = rows.map(changeOf);
    const through = changes.at(-1)?.main ?? upTo;
    const behind = [...this.unsynced].filter(
      (watcher) => !watcher.blocked && watcher.next >= from && watcher.next <= through,
    );
    if (behind.some(({ prevKv }) => prevKv)) {
      yield* attachPrevious(changes, this.compactedTo, (change) =>
        behind.some((watcher) => watcher.prevKv && this.matches(watcher, change)),
      );
    }
    for (const watcher of behind) {
      if (this.watchers.get(watcher.id) !== watcher || watcher.synced) continue;
      const outgoing: Outgoing = { events: [], bytes: 0 };
      for (const change of changes)
        if (this.matches(watcher, change)) collect(outgoing, watcher, change);
      this.deliver(watcher, outgoing, through);
    }
  }

  /** Delivers a progress mark now, behind everything the watcher was given; nothing while it has not seen everything. */
  report(watchId: number): void {
    const watcher = this.watchers.get(watchId);
    if (watcher === undefined || !this.mayReport(watcher)) return;
    const revision = this.deliveredRevision as Revision;
    this.sink.deliver(watchId, { events: [], revision, bytes: 0 });
  }

  /** The revision that all of these watchers have seen everything up to; undefined while one of them has not. */
  progress(watchIds: Iterable<number>): Revision | undefined {
    for (const id of watchIds) {
      const watcher = this.watchers.get(id);
      if (watcher === undefined) continue;
      if (!this.mayReport(watcher)) return undefined;
    }
    return this.deliveredRevision as Revision;
  }

  /** Delivers a progress mark to the synced watchers that asked for them and had no batch since the last tick. */
  progressTick(): void {
    const revision = this.deliveredRevision as Revision;
    for (const watcher of this.watchers.values()) {
      const due = watcher.progressNotify && !watcher.busy && this.mayReport(watcher);
      watcher.busy = false;
      if (!due) continue;
      // A refused mark is only skipped: the next tick offers another.
      this.sink.deliver(watcher.id, { events: [], revision, bytes: 0 });
    }
  }

  /** Progress never goes below where a watcher starts, nor ahead of what it was given. */
  private mayReport(watcher: Watcher): boolean {
    const { synced, asked, next } = watcher;
    return synced && asked <= this.deliveredRevision && next <= this.deliveredRevision + 1;
  }

  private checkAdd(
    watchId: number,
    range: { readonly key: Uint8Array; readonly rangeEnd: Uint8Array; readonly asked: number },
    start: WatchStart,
  ): KvError | undefined {
    if (this.watchers.has(watchId)) {
      const text = 'mvcc: duplicate watch ID provided on the WatchStream';
      return new KvError('KV_INVALID_ARGUMENT', text);
    }
    if (isEmptyRange(range.key, range.rangeEnd)) {
      return new KvError('KV_INVALID_ARGUMENT', 'mvcc: watcher range is empty');
    }
    if (range.asked < 0) return new KvError('KV_COMPACTED');
    const compactRevision = this.floorOf(start);
    if (range.asked === 0 || range.asked >= compactRevision) return undefined;
    const details = { compactRevision };
    return new KvError('KV_COMPACTED', undefined, { details });
  }

  private groupFor(key: Uint8Array, rangeEnd: Uint8Array): Group {
    const point = rangeEnd.length === 0;
    const from = byteText(key);
    const to = point || isOpenEnd(rangeEnd) ? undefined : byteText(rangeEnd);
    // The length makes the pair unambiguous; an open range has no end text.
    const text = point ? from : `${from.length}:${from}${to === undefined ? '' : `-${to}`}`;
    const groups = point ? this.points : this.ranges;
    let group = groups.get(text);
    if (group === undefined) {
      group = { text, from, to, point, watchers: new Set() };
      groups.set(text, group);
    }
    return group;
  }

  private cancelCompacted(): void {
    for (const watcher of [...this.unsynced]) {
      const floor = this.floorOf(watcher.start);
      if (watcher.next >= floor) continue;
      this.cancel(watcher.id);
      this.sink.cancelled(watcher.id, floor);
    }
  }

  /** First revision from which a watcher's history is whole. */
  private floorOf({ floor, compactedBefore }: WatchStart): number {
    return this.compactedTo === compactedBefore ? floor : Math.max(floor, this.compactedTo);
  }

  private matches(watcher: Watcher, change: Change): boolean {
    const { from, to, point } = watcher.group;
    const { keyText } = change;
    const inGroup = point
      ? keyText === from
      : keyText >= from && (to === undefined || keyText < to);
    return inGroup && wants(watcher, change) && this.inScope(watcher, change);
  }

  /** On disk there are rows of slots that are not here yet, or not any more; and a watch may be about some slots only. */
  private inScope({ scope, group }: Watcher, change: Change): boolean {
    const { slotTable, slotSpace } = this.state;
    if (slotSpace === undefined || group.point) return true;
    if (scope === undefined && slotTable === undefined) return true;
    if (change.slot < 0) change.slot = slotSpace.ofKey(rowKey(change.row));
    if (scope !== undefined) return spansHold(scope, change.slot);
    return slotTable?.isOwned(change.slot) === true;
  }

  private *deliverLive(changes: readonly Change[], floor: number): Reading<void> {
    if (changes.length === 0) return;
    if (this.prevKvCount > 0) {
      const wanted = (change: Change): boolean => this.wantsPrevious(change);
      const missing = yield* attachPrevious(changes, floor, wanted);
      // What was the newest of its key a moment ago, nothing removes before the change is delivered.
      assert(missing === undefined, `row ${missing} is missing`);
    }
    const outgoing = new Map<Watcher, Outgoing>();
    for (const change of changes) {
      for (const group of this.groupsOf(change)) this.collectFor(group, change, outgoing);
    }
    const through = changes.at(-1)?.main ?? 0;
    for (const [watcher, batch] of outgoing) {
      if (this.watchers.get(watcher.id) === watcher && watcher.synced) {
        this.deliver(watcher, batch, through);
      }
    }
  }

  /** Gives a watcher its events through revision `through` and moves it between the sides as it comes out. */
  private deliver(watcher: Watcher, outgoing: Outgoing, through: number): void {
    const { events, bytes } = outgoing;
    const last = events.at(-1);
    if (last !== undefined) {
      const batch = { events, revision: last.kv.modRevision, bytes };
      if (!this.sink.deliver(watcher.id, batch)) {
        const first = events[0];
        // A synced watcher has nothing pending before its first refused event; its `next` may lag far behind.
        if (watcher.synced && first !== undefined) watcher.next = first.kv.modRevision;
        watcher.synced = false;
        watcher.blocked = true;
        if (this.watchers.get(watcher.id) === watcher) this.unsynced.add(watcher);
        // The very write set may have compacted what was refused: then it cannot be had from disk.
        this.cancelCompacted();
        return;
      }
      watcher.busy = true;
    }
    watcher.next = Math.max(watcher.next, through + 1);
    if (watcher.synced || watcher.next <= this.currentRevision) return;
    watcher.synced = true;
    this.unsynced.delete(watcher);
  }

  /** Every group whose keys include the change's. Linear in the number of distinct ranges. */
  private *groupsOf(change: Change): Generator<Group, void, undefined> {
    const { keyText } = change;
    const point = this.points.get(keyText);
    if (point !== undefined) yield point;
    for (const group of this.ranges.values()) {
      if (keyText >= group.from && (group.to === undefined || keyText < group.to)) yield group;
    }
  }

  private wantsPrevious(change: Change): boolean {
    for (const { watchers } of this.groupsOf(change)) {
      for (const watcher of watchers) {
        if (watcher.synced && watcher.prevKv && wants(watcher, change)) return true;
      }
    }
    return false;
  }

  /** Adds a change to what the synced watchers of a group are to be given. */
  private collectFor(group: Group, change: Change, outgoing: Map<Watcher, Outgoing>): void {
    for (const watcher of group.watchers) {
      if (!watcher.synced || !wants(watcher, change) || !this.inScope(watcher, change)) continue;
      let batch = outgoing.get(watcher);
      if (batch === undefined) {
        batch = { events: [], bytes: 0 };
        outgoing.set(watcher, batch);
      }
      collect(batch, watcher, change);
    }
  }

  private lowestNext(): number | undefined {
    let lowest: number | undefined;
    for (const { next, blocked } of this.unsynced) {
      if (!blocked && (lowest === undefined || next < lowest)) lowest = next;
    }
    return lowest;
  }
}

/** Why a shard does not serve a watch of these slots. */
function foreignScope(
  slotTable: SlotTable | undefined,
  scope: readonly SlotSpan[] | undefined,
): KvError | undefined {
  if (slotTable === undefined) return undefined;
  if (scope === undefined) {
    // Slots have gone or come: whoever names none counts by a map from before.
    const isStale = slotTable.isHandingOver || slotTable.ownership.version > 0;
    return isStale ? slotTable.wrongShard(undefined) : undefined;
  }
  const foreign = subtractSpans(scope, slotTable.served);
  return foreign[0] === undefined ? undefined : slotTable.wrongShard(foreign[0][0]);
}

function wants(watcher: Watcher, change: Change): boolean {
  return change.main >= watcher.next && (change.tombstone ? watcher.wantsDelete : watcher.wantsPut);
}
