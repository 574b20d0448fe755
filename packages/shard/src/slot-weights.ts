import { SLOT_COUNT } from './routing-part.ts';
import { addFigures, NO_FIGURES, type SlotFigures } from './slot-load.ts';

/** How much a slot counts in a plan. */
export type SlotWeight = (slot: number) => number;

/** Below this many requests a second of the whole cluster, load says nothing about which slots are busy. */
const REQUESTS_MIN = 10;
/** Below this many bytes of the whole cluster, size is no reason to move anything. */
const BYTES_MIN = 16 * 1024 * 1024;

const LOAD_PART = 0.6;
const SIZE_PART = 0.3;
/** Of every slot alike, so that slots which rest are spread too. */
const EVEN_PART = 0.1;

/**
 * What slots weigh, by their part of the cluster's load (0.6), of its size (0.3) and of the number of slots (0.1). Undefined: the
 * cluster is cold, neither load nor size is enough to tell slots apart.
 *
 * @param figures - by slot.
 */
export function slotWeights(figures: readonly SlotFigures[]): SlotWeight | undefined {
  const total = figures.reduce(addFigures, NO_FIGURES);
  const requests = total.reads + total.writes;
  const load = requests >= REQUESTS_MIN ? LOAD_PART / requests : 0;
  const size = total.bytes >= BYTES_MIN ? SIZE_PART / total.bytes : 0;
  if (load + size === 0) return undefined;
  return (slot) => {
    const { reads, writes, bytes } = figures[slot] ?? NO_FIGURES;
    return (reads + writes) * load + bytes * size + EVEN_PART / SLOT_COUNT;
  };
}
