import { isOpenEnd, partitionPoint } from '@kvorum/base';
import { byteText } from './binary.ts';

/** Above every key as byteText, whose characters end at 0xff. */
const OPEN = '\uffff';

/**
 * A set of etcd ranges that grows: one transaction may name tens of thousands of them, so that neither adding nor asking may
 * walk them all.
 */
export class KeyIntervals {
  private readonly points = new Set<string>();
  /** Disjoint, ascending: starts[i] <= key < ends[i]. */
  private readonly starts: string[] = [];
  private readonly ends: string[] = [];

  addRange(key: Uint8Array, rangeEnd: Uint8Array): void {
    const start = byteText(key);
    if (rangeEnd.length === 0) this.points.add(start);
    else this.add(start, isOpenEnd(rangeEnd) ? OPEN : byteText(rangeEnd));
  }

  addAll(other: KeyIntervals): void {
    for (const point of other.points) this.points.add(point);
    for (const [i, start] of other.starts.entries()) this.add(start, other.ends[i] ?? start);
  }

  /** @param key - as byteText. */
  has(key: string): boolean {
    if (this.points.has(key)) return true;
    const at = firstAbove(this.starts, key) - 1;
    return at >= 0 && key < (this.ends[at] ?? '');
  }

  private add(start: string, end: string): void {
    if (start >= end) return;
    const { starts, ends } = this;
    // The ones in [from, to) overlap or touch the new one.
    let from = firstAbove(starts, start);
    if (from > 0 && (ends[from - 1] ?? '') >= start) from -= 1;
    const to = firstAbove(starts, end);
    const first = from < to ? (starts[from] ?? start) : start;
    const last = from < to ? (ends[to - 1] ?? end) : end;
    starts.splice(from, to - from, first < start ? first : start);
    ends.splice(from, to - from, last > end ? last : end);
  }
}

/** Index of the first of the ascending texts that is greater than `text`. */
function firstAbove(texts: readonly string[], text: string): number {
  return partitionPoint(texts, (one) => one <= text);
}
