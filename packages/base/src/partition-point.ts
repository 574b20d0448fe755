/**
 * Binary search: how many items at the begin of the list are `isBefore`, which is the index of the first that is not.
 *
 * @param items - those for which `isBefore` holds stand before all others.
 */
export function partitionPoint<T>(items: readonly T[], isBefore: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(items[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}
