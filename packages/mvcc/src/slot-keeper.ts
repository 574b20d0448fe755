import { assert, type KvError, type KvRequest, type Revision } from '@kvorum/base';
import type { Reading } from './reading.ts';
import type { SlotCommand } from './slot-command.ts';
import { droppedPart, type LeftRows, leftRows } from './slot-drop.ts';
import {
  type ExportView,
  executeSlots,
  exportSlots,
  type SlotEffects,
  type SlotExport,
} from './slot-execution.ts';
import {
  decodeOwnership,
  emptyOwnership,
  historyFloor,
  type SlotOwnership,
  type SlotSpace,
  type SlotSpan,
  SlotTable,
  subtractSpans,
} from './slot-ownership.ts';
import { requestRefusal } from './slot-refusal.ts';
import type { SlotChanges } from './write-set.ts';

/** How keys lie in slots, and the row that says which of them the shard owns. */
export interface SlotState {
  readonly space: SlotSpace;
  readonly row: Uint8Array | undefined;
}

/** What one reading keeps to. */
export interface SlotMoment {
  /** Slots have come or gone since: any row may be missing, the reading is void. */
  readonly isOver: () => boolean;
  /** Revisions below it are not whole. */
  readonly floor: number;
  readonly hides: (key: Uint8Array) => boolean;
}

/** The slots that a shard has, as its engine knows them: nothing at all before the first move that touches it. */
export class SlotKeeper {
  readonly space: SlotSpace | undefined;
  private row: SlotOwnership | undefined;
  private current: SlotTable | undefined;
  /** Counts changes of the ownership. */
  private changes = 0;

  /** Throws KV_CORRUPT when the row is damaged. */
  constructor(state: SlotState | undefined) {
    this.space = state?.space;
    if (state?.row !== undefined) this.set(decodeOwnership(state.row));
    else if (state?.space.startsEmpty === true) this.compile(emptyOwnership([]));
  }

  /** Undefined = the shard has what the map says. */
  get table(): SlotTable | undefined {
    return this.current;
  }

  /** As the replicated row says; undefined = there is none. */
  get ownership(): SlotOwnership | undefined {
    return this.row;
  }

  moment(): SlotMoment {
    const { changes, current } = this;
    const foreign = current?.hasForeignRows === true ? current : undefined;
    return {
      isOver: () => this.changes !== changes,
      floor: current?.floor ?? -1,
      hides: (key) => foreign !== undefined && !foreign.isOwned(foreign.space.ofKey(key)),
    };
  }

  refusal(request: KvRequest, mapVersion: number | undefined): KvError | undefined {
    if (this.current === undefined) return undefined;
    return requestRefusal(this.current, request, mapVersion ?? Number.POSITIVE_INFINITY);
  }

  /** By index, why keys cannot be read here; undefined when all can. */
  refusalsOf(keys: readonly Uint8Array[]): readonly (KvError | undefined)[] | undefined {
    const { current } = this;
    const newest = Number.POSITIVE_INFINITY;
    return current === undefined
      ? undefined
      : keys.map((key) => current.refusal(key, undefined, newest));
  }

  /** Takes the ownership that an applied step has left; the slots that were served before it and no more. */
  take(row: Uint8Array): readonly SlotSpan[] {
    const ownership = decodeOwnership(row);
    // The first row only says what went without saying; but a freeze may be what wrote it.
    const before = this.current?.served ?? ownership.owned;
    this.set(ownership);
    return subtractSpans(before, this.current?.served ?? []);
  }

  *execute(
    state: { readonly revision: Revision; readonly compactRevision: number },
    command: SlotCommand,
  ): Reading<SlotEffects | KvError> {
    const { space, row } = this;
    assert(space !== undefined, 'a shard whose slots move knows how keys lie in slots');
    // A new shard owns nothing, whatever the map says by the time of its first step.
    const ownership = row ?? (space.startsEmpty ? emptyOwnership([]) : undefined);
    const { revision, compactRevision } = state;
    return yield* executeSlots({ revision, compactRevision, ownership }, command, space);
  }

  /** Of the rows that an applied step drops, those that it does not name; `from` = where the piece before has ended. */
  *leftByDrop(
    { ownership, deletes }: SlotChanges,
    from: Uint8Array | undefined,
  ): Reading<LeftRows> {
    const { space, row } = this;
    const part = row === undefined ? undefined : droppedPart(row, decodeOwnership(ownership));
    if (part === undefined || space === undefined) return { deletes: [], next: undefined };
    return yield* leftRows({ ...part, gte: from ?? part.gte }, deletes, space);
  }

  *exportFrom(
    view: () => { readonly revision: number; readonly compactRevision: number },
    slots: readonly SlotSpan[],
    from: number,
  ): Reading<SlotExport> {
    assert(this.space !== undefined, 'a shard whose slots move knows how keys lie in slots');
    const moment = this.moment();
    const exported = (): ExportView => {
      const { revision, compactRevision } = view();
      const floor = historyFloor(this.row, slots, compactRevision);
      return { revision, compactRevision: floor, isOver: moment.isOver() };
    };
    return yield* exportSlots(exported, slots, from, this.space);
  }

  private set(ownership: SlotOwnership): void {
    this.row = ownership;
    this.compile(ownership);
  }

  private compile(ownership: SlotOwnership): void {
    assert(this.space !== undefined, 'a shard with slot ownership knows how keys lie in slots');
    this.current = new SlotTable(ownership, this.space);
    this.changes += 1;
  }
}
