/**
 * Numbers in requests that mean another number to each system: a revision relative to what the sequence has done so far, and a
 * lease by the order in which the systems chose its id. They are written as int64 values that no request uses otherwise.
 */
const MARK_BITS = 40n;
const MIDDLE = 1n << (MARK_BITS - 1n);
/** Bits 48 to 61: far from what tests use as ids and as the largest revision. */
const PREFIX = 0x2b5an << 48n;

const ANCHORS = ['base', 'current', 'compacted', 'lease'] as const;
type Anchor = (typeof ANCHORS)[number];

function symbol(anchor: Anchor, plus: number): bigint {
  return PREFIX | (BigInt(ANCHORS.indexOf(anchor)) << MARK_BITS) | (MIDDLE + BigInt(plus));
}

/** @param plus - how far from it. `base` is the revision that both were at when the sequence began. */
export function revision(anchor: 'base' | 'current' | 'compacted', plus = 0): bigint {
  return symbol(anchor, plus);
}

/** In a grant: an id of the system's choice, remembered as `slot`; elsewhere that id. */
export function chosenLease(slot: number): bigint {
  return symbol('lease', slot);
}

interface Meaning {
  readonly anchor: Anchor;
  readonly plus: number;
}

/** What a number of a request stands for; undefined = itself. */
export function meaningOf(value: bigint): Meaning | undefined {
  if (value >> 48n !== PREFIX >> 48n) return undefined;
  const anchor = ANCHORS[Number((value >> MARK_BITS) & 0xffn)];
  const plus = Number((value & ((1n << MARK_BITS) - 1n)) - MIDDLE);
  return anchor === undefined ? undefined : { anchor, plus };
}

/** As people read it: `current-2`, `lease#0`, `17`. */
export function numberText(value: bigint): string {
  const meaning = meaningOf(value);
  if (meaning === undefined) return String(value);
  if (meaning.anchor === 'lease') return `lease#${meaning.plus}`;
  const { anchor, plus } = meaning;
  return `${anchor}${plus === 0 ? '' : plus > 0 ? `+${plus}` : String(plus)}`;
}
