import { assert, fromUtf8, KvError, utf8 } from '@kvorum/base';

/** Slots `from`..`to`, both inclusive. Lists of spans are ascending and do not touch each other. */
export type SlotSpan = readonly [from: number, to: number];

/** How keys lie in slots; given by the shell, since this package knows no shard map. */
export interface SlotSpace {
  readonly count: number;
  readonly ofKey: (key: Uint8Array) => number;
  /** The one slot that holds all keys of a range; undefined when they may lie in several. */
  readonly ofRange: (key: Uint8Array, rangeEnd: Uint8Array) => number | undefined;
  /** A shard made for a move owns nothing until it adopts; any other one what the map says. */
  readonly startsEmpty: boolean;
}

/** Slots whose writes and reads are refused while their last changes travel to another shard. */
export interface FrozenSlots {
  readonly move: string;
  readonly attempt: number;
  /** Version of a map that holds the move. */
  readonly mapVersion: number;
  readonly slots: readonly SlotSpan[];
}

/** The beginning of a revision that is copied piece by piece. */
export interface CopiedPart {
  /** Rows of the source below this sub-revision are copied. */
  readonly sub: number;
  /** So many they are. */
  readonly rows: number;
}

/** Slots that come from another shard. */
export interface SlotImport {
  readonly move: string;
  readonly attempt: number;
  readonly slots: readonly SlotSpan[];
  readonly state: 'open' | 'sealed' | 'adopted';
  /** Number of the import in this shard, from 1: its rows take sub-revisions of their own. */
  readonly band: number;
  /** Everything below this revision of the source is copied. */
  readonly next: number;
  /** Of the rows of revision `next` itself the first ones, when it does not fit into one record; absent = none. */
  readonly part?: CopiedPart;
  /** Compact revision of the source when the last piece was read there: older history never came. */
  readonly floor: number;
  /** Last revision of the source that can have changed the slots; -1 until sealed. */
  readonly sealed: number;
  /** Revision of this shard when it adopted the slots: none of their changes lies in (sealed, adopted]. -1 until then. */
  readonly adopted: number;
  /** Compact revision of this shard when it adopted the slots: compactions up to it are not about their history. */
  readonly compactedBefore: number;
}

/** Rows of slots that the shard no longer has, deleted piece by piece in revision order. */
export interface SlotDrop {
  readonly move: string;
  readonly slots: readonly SlotSpan[];
  readonly main: number;
  readonly sub: number;
  /** No row of the slots has a higher revision. */
  readonly through: number;
}

/** Which slots a shard owns, in its replicated state under the key `o`. No row = the slots that the shard began with. */
export interface SlotOwnership {
  /** Frozen slots included. */
  readonly owned: readonly SlotSpan[];
  readonly frozen: readonly FrozenSlots[];
  readonly imports: readonly SlotImport[];
  readonly drops: readonly SlotDrop[];
  /** Imports so far. */
  readonly bands: number;
  /** Version of the map by which slots last came or went: what older maps say of ranges is void here. */
  readonly version: number;
  /**
   * Version of the map by which slots last came here, or a freeze was last undone: one that was asked for by an older map is of a
   * hand-over that is over, and refused however late it arrives.
   */
  readonly freezesFrom: number;
}

export const OWNERSHIP_KEY: Uint8Array = new Uint8Array([0x6f]); // o
const FORMAT = 1;

export function emptyOwnership(owned: readonly SlotSpan[]): SlotOwnership {
  return { owned, frozen: [], imports: [], drops: [], bands: 0, version: 0, freezesFrom: 0 };
}

/** JSON: small, rarely written, and readable in a dump of the log. */
export function encodeOwnership(ownership: SlotOwnership): Uint8Array {
  return utf8(JSON.stringify({ format: FORMAT, ...ownership }));
}

/** Throws KV_CORRUPT when the row is damaged or of an unknown format. */
export function decodeOwnership(bytes: Uint8Array): SlotOwnership {
  let plain: unknown;
  try {
    plain = JSON.parse(fromUtf8(bytes));
  } catch {
    plain = undefined; // refused below, like every other damage
  }
  if (!isOwnership(plain)) throw new KvError('KV_CORRUPT', 'unreadable row of slot ownership');
  const { owned, frozen, imports, drops, bands, version } = plain;
  // Rows of a version before it have none.
  const freezesFrom = plain.freezesFrom ?? 0;
  return { owned, frozen, imports, drops, bands, version, freezesFrom };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function isSpans(value: unknown): value is readonly SlotSpan[] {
  return (
    Array.isArray(value) &&
    value.every(
      (span: unknown) => Array.isArray(span) && span.length === 2 && span.every(Number.isInteger),
    )
  );
}

function hasNumbers(value: Readonly<Record<string, unknown>>, names: readonly string[]): boolean {
  return names.every((name) => Number.isSafeInteger(value[name]));
}

function isListOf(
  value: unknown,
  numbers: readonly string[],
): value is readonly Readonly<Record<string, unknown>>[] {
  return (
    Array.isArray(value) &&
    value.every(
      (item: unknown) =>
        isObject(item) &&
        typeof item['move'] === 'string' &&
        isSpans(item['slots']) &&
        hasNumbers(item, numbers),
    )
  );
}

const IMPORT_NUMBERS = [
  'attempt',
  'band',
  'next',
  'floor',
  'sealed',
  'adopted',
  'compactedBefore',
] as const;

/** As it is stored. */
type StoredOwnership = Omit<SlotOwnership, 'freezesFrom'> &
  Partial<Pick<SlotOwnership, 'freezesFrom'>>;

const isPart = (value: unknown): boolean =>
  value === undefined || (isObject(value) && hasNumbers(value, ['sub', 'rows']));

function isOwnership(value: unknown): value is StoredOwnership {
  return (
    isObject(value) &&
    value['format'] === FORMAT &&
    isSpans(value['owned']) &&
    isListOf(value['frozen'], ['attempt', 'mapVersion']) &&
    isListOf(value['imports'], IMPORT_NUMBERS) &&
    value['imports'].every(({ part }) => isPart(part)) &&
    isListOf(value['drops'], ['main', 'sub', 'through']) &&
    hasNumbers(value, ['bands', 'version']) &&
    (value['freezesFrom'] === undefined || hasNumbers(value, ['freezesFrom']))
  );
}

/** In place of a slot, when a range of several was refused. */
const SEVERAL_SLOTS = -1;

const FOREIGN = 0;
const OWNED = 1;
const FROZEN = 2;

/** The ownership of one moment, compiled for a look at every key. */
export class SlotTable {
  readonly ownership: SlotOwnership;
  readonly space: SlotSpace;
  /** Rows of slots that are not owned may stand in the store: readings must not show them. */
  readonly hasForeignRows: boolean;
  /** Slots come or go at this moment: nobody can answer for a range of several slots. */
  readonly isHandingOver: boolean;
  /** Below it a read of the past may miss what an import did not bring. */
  readonly floor: number;
  /** Owned and not frozen. */
  readonly served: readonly SlotSpan[];
  private readonly states: Uint8Array;

  constructor(ownership: SlotOwnership, space: SlotSpace) {
    this.ownership = ownership;
    this.space = space;
    this.states = new Uint8Array(space.count);
    const { owned, frozen, imports, drops } = ownership;
    this.mark(owned, OWNED);
    for (const { slots } of frozen) this.mark(slots, FROZEN);
    this.served = frozen.reduce((rest, { slots }) => subtractSpans(rest, slots), owned);
    const coming = imports.filter(({ state }) => state !== 'adopted');
    this.hasForeignRows = coming.length > 0 || drops.length > 0;
    this.isHandingOver = frozen.length > 0 || coming.some(({ state }) => state === 'sealed');
    const here = imports.filter(({ state }) => state === 'adopted');
    this.floor = here.reduce((floor, one) => Math.max(floor, one.floor), -1);
  }

  isOwned(slot: number): boolean {
    return this.states[slot] !== FOREIGN;
  }

  /** Whether the shard may change a slot's keys now, may not yet or not any more, or has nothing to do with it. */
  standingOf(slot: number): 'served' | 'changing' | 'foreign' {
    const state = this.states[slot];
    if (state === OWNED) return 'served';
    if (state === FROZEN) return 'changing';
    const isSealed = this.ownership.imports.some(
      (one) => one.state === 'sealed' && spansHold(one.slots, slot),
    );
    return isSealed ? 'changing' : 'foreign';
  }

  /** Why a request for a key or a range cannot be answered here; undefined = it can. */
  refusal(
    key: Uint8Array,
    rangeEnd: Uint8Array | undefined,
    mapVersion: number,
  ): KvError | undefined {
    const single = rangeEnd === undefined || rangeEnd.length === 0;
    const slot = single ? this.space.ofKey(key) : this.space.ofRange(key, rangeEnd);
    if (slot !== undefined) {
      return this.states[slot] === OWNED ? undefined : this.wrongShard(slot);
    }
    // Whoever asks several shards must have asked all that hold a part of the range.
    const stale = mapVersion < this.ownership.version;
    return stale || this.isHandingOver ? this.wrongShard(undefined) : undefined;
  }

  /** The answer to whoever asks here for a slot that is not here; undefined = for several. */
  wrongShard(slot: number | undefined): KvError {
    const { version } = this.ownership;
    const detail =
      slot === undefined
        ? 'its slots are on the move'
        : this.states[slot] === FROZEN
          ? `slot ${slot} is being handed over`
          : undefined;
    return new KvError('KV_WRONG_SHARD', detail, {
      details: { mapVersion: version, slot: slot ?? SEVERAL_SLOTS },
    });
  }

  private mark(spans: readonly SlotSpan[], state: number): void {
    for (const [from, to] of spans) {
      assert(from >= 0 && from <= to && to < this.space.count, `no slots ${from}..${to}`);
      this.states.fill(state, from, to + 1);
    }
  }
}

/**
 * First revision from which a shard's history of some slots is whole: what never came with them is missing for ever, whoever
 * takes them on. A compaction from before they came is not about them.
 */
export function historyFloor(
  ownership: SlotOwnership | undefined,
  slots: readonly SlotSpan[],
  compactRevision: number,
): number {
  let own = slots;
  let floor = -1;
  for (const one of ownership?.imports ?? []) {
    if (one.state !== 'adopted' || !spansMeet(one.slots, slots)) continue;
    own = subtractSpans(own, one.slots);
    const untouched = one.compactedBefore === compactRevision;
    floor = Math.max(floor, untouched ? one.floor : Math.max(one.floor, compactRevision));
  }
  return own.length > 0 ? Math.max(floor, compactRevision) : floor;
}

/** Whether a slot lies in one of the spans. */
export function spansHold(spans: readonly SlotSpan[], slot: number): boolean {
  return spans.some(([from, to]) => from <= slot && slot <= to);
}

/** Both lists together, joined where they touch. */
export function addSpans(a: readonly SlotSpan[], b: readonly SlotSpan[]): readonly SlotSpan[] {
  const sorted = [...a, ...b].sort((one, other) => one[0] - other[0]);
  const out: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = out.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else out.push([from, to]);
  }
  return out;
}

/** What of `a` does not lie in `b`. */
export function subtractSpans(a: readonly SlotSpan[], b: readonly SlotSpan[]): readonly SlotSpan[] {
  let rest: SlotSpan[] = [...a];
  for (const [from, to] of b) {
    const next: SlotSpan[] = [];
    for (const [low, high] of rest) {
      if (to < low || high < from) {
        next.push([low, high]);
        continue;
      }
      if (low < from) next.push([low, from - 1]);
      if (high > to) next.push([to + 1, high]);
    }
    rest = next;
  }
  return rest;
}

/** Whether the lists share a slot. */
export function spansMeet(a: readonly SlotSpan[], b: readonly SlotSpan[]): boolean {
  return a.some(([from, to]) => b.some(([low, high]) => low <= to && from <= high));
}
