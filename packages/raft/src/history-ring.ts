import type { LogIndex } from '@kvorum/base';
import { assert, equalBytes } from '@kvorum/base';
import type { HistoryPoint } from './message.ts';

/** How many of the latest accepted records a replica can compare with its peers. */
export const HISTORY_RING_SIZE = 1024;

/**
 * The chain hashes of the latest accepted records, by index. Bounded; older points cannot be
 * compared any more.
 */
export class HistoryRing {
  readonly #points: HistoryPoint[] = [];

  constructor(first: HistoryPoint) {
    this.#points[first.index % HISTORY_RING_SIZE] = first;
  }

  /** Adds the next point; indexes come without gaps. */
  put(point: HistoryPoint): void {
    assert(point.index > 0, `history index must be > 0: ${point.index}`);
    this.#points[point.index % HISTORY_RING_SIZE] = point;
  }

  /** Chain hash at `index`, or undefined when it is not kept or not reached. */
  at(index: LogIndex): Uint8Array | undefined {
    const point = this.#points[index % HISTORY_RING_SIZE];
    return point?.index === index ? point.chainHash : undefined;
  }

  /** The points kept, oldest first. */
  points(): readonly HistoryPoint[] {
    // The array is sparse until it has filled up.
    return this.#points.filter(() => true).sort((a, b) => a.index - b.index);
  }

  /** Whether the two histories provably differ. False also when they cannot be compared. */
  contradicts(point: HistoryPoint): boolean {
    const own = this.at(point.index);
    return own !== undefined && !equalBytes(own, point.chainHash);
  }
}
