import { KvError } from '@kvorum/base';
import { isRow, rowMain } from './row-codec.ts';
import {
  addSpans,
  emptyOwnership,
  type SlotDrop,
  type SlotImport,
  type SlotOwnership,
  type SlotSpan,
  spansMeet,
  subtractSpans,
} from './slot-ownership.ts';

interface OfMove {
  readonly op: 'slots';
  /** Id of the move in the shard map. */
  readonly move: string;
}

/** What a move names when the shard has no ownership row yet: what the map gave it, which no move has changed since. */
interface FirstRow {
  readonly owned: readonly SlotSpan[];
}

export type ImportBegin = OfMove &
  FirstRow & {
    readonly action: 'import-begin';
    readonly attempt: number;
    readonly slots: readonly SlotSpan[];
  };

/**
 * Rows of the source as they lie in its store: from where the import stands, which is in revision `from`, below `to`, ascending. With
 * `toSub` also those of revision `to` below that sub-revision: it goes on in the next record.
 */
export type ImportRows = OfMove & {
  readonly action: 'import-rows';
  readonly from: number;
  readonly to: number;
  readonly toSub?: number;
  /** Compact revision of the source when they were read. */
  readonly floor: number;
  readonly rows: readonly Uint8Array[];
  /** Highest term of the leases' home that the source has heard of; absent: of a member of the version before. */
  readonly leaseTerm?: number;
  /** They are the last ones: the source is frozen in this attempt, and `sealed` is its last revision that can have changed the slots. */
  readonly seal?: { readonly attempt: number; readonly sealed: number };
};

/** A step of a slot move as the shard's leader logs it. */
export type SlotCommand =
  | ImportBegin
  | ImportRows
  | (OfMove & { readonly action: 'adopt'; readonly mapVersion: number })
  /** Gives an import up, whatever has come of it. */
  | (OfMove & { readonly action: 'discard' })
  | (OfMove &
      FirstRow & {
        readonly action: 'freeze';
        readonly attempt: number;
        readonly mapVersion: number;
        readonly slots: readonly SlotSpan[];
      })
  /** Of this attempt or an earlier one; what was asked for by a map before `mapVersion` is void from then on. */
  | (OfMove & {
      readonly action: 'unfreeze';
      readonly attempt: number;
      readonly mapVersion: number;
      /** As {@link FirstRow}; absent = a shard without a row stays without. */
      readonly owned?: readonly SlotSpan[];
    })
  /** The frozen slots belong to another shard now. */
  | (OfMove & { readonly action: 'release'; readonly mapVersion: number })
  /** Deletes the next piece of what was released or discarded. */
  | (OfMove & { readonly action: 'drop' });

/** Old imports that no reading asks about any more are forgotten beyond this many. */
const IMPORTS_KEPT_MAX = 64;

export interface OwnershipView {
  readonly revision: number;
  readonly compactRevision: number;
  /** Undefined = no row was ever written. */
  readonly ownership: SlotOwnership | undefined;
}

/**
 * The ownership after a step; the same object when it was done before (steps are repeated after crashes); an error when the
 * state is not one that the step may follow. Undefined: there is still no row.
 */
export function nextOwnership(
  view: OwnershipView,
  command: Exclude<SlotCommand, { readonly action: 'drop' }>,
): SlotOwnership | undefined | KvError {
  switch (command.action) {
    case 'import-begin':
      return beginImport(view, command);
    case 'import-rows':
      return changeImport(view, command.move, (found) => takeRows(found, command));
    case 'adopt':
      return adopt(view, command);
    case 'discard':
      return discard(view, command);
    case 'freeze':
      return freeze(view, command);
    case 'unfreeze':
      return unfreeze(view, command);
    case 'release':
      return release(view, command);
  }
}

function beginImport(view: OwnershipView, command: ImportBegin): SlotOwnership | KvError {
  const { move, attempt, slots } = command;
  const before = view.ownership ?? emptyOwnership(command.owned);
  const found = before.imports.find((one) => one.move === move);
  if (found !== undefined) {
    if (found.attempt === attempt) return before;
    if (found.state === 'adopted' || found.attempt > attempt)
      return refused(command, `it is ${found.state} in attempt ${found.attempt}`);
    // The source went on: what is copied stays, the seal is broken.
    return withImport(before, { ...found, attempt, state: 'open', sealed: -1 });
  }
  const taken = [before.owned, ...before.drops.map((drop) => drop.slots)];
  for (const one of before.imports) if (one.state !== 'adopted') taken.push(one.slots);
  if (taken.some((spans) => spansMeet(spans, slots))) {
    return refused(command, 'some of its slots are here already');
  }
  const fresh: SlotImport = {
    move,
    attempt,
    slots,
    state: 'open',
    band: before.bands + 1,
    next: 0,
    floor: -1,
    sealed: -1,
    adopted: -1,
    compactedBefore: view.compactRevision,
  };
  const imports = forgetOld(before.imports, view.compactRevision);
  return { ...before, imports: [...imports, fresh], bands: fresh.band };
}

function forgetOld(imports: readonly SlotImport[], compactRevision: number): SlotImport[] {
  let excess = imports.length - IMPORTS_KEPT_MAX + 1;
  return imports.filter((one) => {
    const old = one.state === 'adopted' && one.adopted < compactRevision;
    if (!old || excess <= 0) return true;
    excess -= 1;
    return false;
  });
}

function takeRows(found: SlotImport, command: ImportRows): SlotImport | KvError {
  const { from, to, toSub = 0, rows, seal } = command;
  if (found.state !== 'open') return refused(command, `it is ${found.state}`);
  if (found.next !== from) return refused(command, `it stands at ${found.next}`);
  const { part: before, ...whole } = found;
  const floor = Math.max(found.floor, command.floor);
  const inPart = rows.filter((row) => isRow(row) && rowMain(row) === to).length;
  const earlier = to === from ? (before?.rows ?? 0) : 0;
  const part = toSub === 0 ? {} : { part: { sub: toSub, rows: earlier + inPart } };
  const taken: SlotImport = { ...whole, next: to, floor, ...part };
  if (seal === undefined) return taken;
  if (found.attempt !== seal.attempt)
    return refused(command, `it is open in attempt ${found.attempt}`);
  if (to <= seal.sealed) return refused(command, `it would come to ${to} only`);
  return { ...taken, state: 'sealed', sealed: seal.sealed };
}

function adopt(
  view: OwnershipView,
  command: Extract<SlotCommand, { readonly action: 'adopt' }>,
): SlotOwnership | KvError {
  const { move, mapVersion } = command;
  const found = view.ownership?.imports.find((one) => one.move === move);
  if (view.ownership === undefined || found === undefined) return refused(command, 'unknown');
  if (found.state === 'adopted') return view.ownership;
  if (found.state !== 'sealed') return refused(command, 'its last changes have not come');
  const before = view.ownership;
  return {
    ...withImport(before, {
      ...found,
      state: 'adopted',
      adopted: view.revision,
      compactedBefore: view.compactRevision,
    }),
    owned: addSpans(before.owned, found.slots),
    version: Math.max(before.version, mapVersion),
    freezesFrom: Math.max(before.freezesFrom, mapVersion),
  };
}

function discard(
  view: OwnershipView,
  command: Extract<SlotCommand, { readonly action: 'discard' }>,
): SlotOwnership | KvError {
  const { ownership: before } = view;
  const found = before?.imports.find((one) => one.move === command.move);
  if (before === undefined || found === undefined) return before ?? refused(command, 'unknown');
  if (found.state === 'adopted') return refused(command, 'its slots are adopted');
  return {
    ...before,
    imports: before.imports.filter((one) => one !== found),
    // What was copied may be ahead of this shard's own revision.
    drops: [...before.drops, dropOf(found, Math.max(view.revision, found.next))],
  };
}

function freeze(
  view: OwnershipView,
  command: Extract<SlotCommand, { readonly action: 'freeze' }>,
): SlotOwnership | KvError {
  const { move, attempt, mapVersion, slots } = command;
  const before = view.ownership ?? emptyOwnership(command.owned);
  const found = before.frozen.find((one) => one.move === move);
  if (found !== undefined && found.attempt >= attempt) return before;
  if (mapVersion < before.freezesFrom) {
    return refused(command, `its slots came or went with map ${before.freezesFrom}`);
  }
  const others = before.frozen.filter((one) => one !== found);
  const free = subtractSpans(slots, before.owned).length === 0;
  if (!free || others.some((one) => spansMeet(one.slots, slots))) {
    return refused(command, 'its slots are not free to go');
  }
  return { ...before, frozen: [...others, { move, attempt, mapVersion, slots }] };
}

function unfreeze(
  view: OwnershipView,
  command: Extract<SlotCommand, { readonly action: 'unfreeze' }>,
): SlotOwnership | undefined {
  const { move, attempt, mapVersion, owned } = command;
  const before = view.ownership ?? (owned === undefined ? undefined : emptyOwnership(owned));
  if (before === undefined) return undefined;
  // A move that is stopped before it froze anything ends as well: its freeze may be on its way.
  const frozen = before.frozen.filter((one) => one.move !== move || one.attempt > attempt);
  if (frozen.length === before.frozen.length && mapVersion <= before.freezesFrom) {
    return view.ownership;
  }
  return { ...before, frozen, freezesFrom: Math.max(before.freezesFrom, mapVersion) };
}

function release(
  view: OwnershipView,
  command: Extract<SlotCommand, { readonly action: 'release' }>,
): SlotOwnership | KvError {
  const { move, mapVersion } = command;
  const { ownership: before } = view;
  if (before === undefined) return emptyRefusal(move);
  const found = before.frozen.find((one) => one.move === move);
  // Released before: its rows are being dropped, or are gone.
  if (found === undefined) return before;
  return {
    ...before,
    owned: subtractSpans(before.owned, found.slots),
    imports: withoutSlots(before.imports, found.slots),
    frozen: before.frozen.filter((one) => one !== found),
    drops: [...before.drops, dropOf(found, view.revision)],
    version: Math.max(before.version, mapVersion),
  };
}

/** What is said of history that came with slots ends when they leave. */
function withoutSlots(
  imports: readonly SlotImport[],
  gone: readonly SlotSpan[],
): readonly SlotImport[] {
  return imports
    .map((one) =>
      one.state === 'adopted' ? { ...one, slots: subtractSpans(one.slots, gone) } : one,
    )
    .filter(({ slots }) => slots.length > 0);
}

function dropOf(
  { move, slots }: { readonly move: string; readonly slots: readonly SlotSpan[] },
  through: number,
): SlotDrop {
  return { move, slots, main: 0, sub: 0, through };
}

function changeImport(
  view: OwnershipView,
  move: string,
  change: (found: SlotImport) => SlotImport | KvError,
): SlotOwnership | KvError {
  const { ownership } = view;
  const found = ownership?.imports.find((one) => one.move === move);
  if (ownership === undefined || found === undefined) return emptyRefusal(move);
  const changed = change(found);
  if (changed instanceof KvError || changed === found) {
    return changed instanceof KvError ? changed : ownership;
  }
  return withImport(ownership, changed);
}

function withImport(before: SlotOwnership, changed: SlotImport): SlotOwnership {
  const imports = before.imports.map((one) => (one.move === changed.move ? changed : one));
  return { ...before, imports };
}

function refused(
  command: { readonly move: string; readonly action: string },
  why: string,
): KvError {
  return new KvError('KV_INVALID_ARGUMENT', `${command.action} of move ${command.move}: ${why}`);
}

function emptyRefusal(move: string): KvError {
  return new KvError('KV_INVALID_ARGUMENT', `move ${move} is not known to this shard`);
}
