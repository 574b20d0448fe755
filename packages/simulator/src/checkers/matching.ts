/**
 * Gives each of `count` items one of its candidates, no candidate to two items, to as many items as possible (Kuhn). Returns the
 * candidate per item, undefined where none is left.
 */
export function matchItems(
  count: number,
  candidatesOf: (item: number) => readonly number[],
): readonly (number | undefined)[] {
  const takenBy = new Map<number, number>();
  const given: (number | undefined)[] = new Array<number | undefined>(count).fill(undefined);
  const give = (item: number, tried: Set<number>): boolean => {
    for (const candidate of candidatesOf(item)) {
      if (tried.has(candidate)) continue;
      tried.add(candidate);
      const holder = takenBy.get(candidate);
      if (holder !== undefined && !give(holder, tried)) continue;
      takenBy.set(candidate, item);
      given[item] = candidate;
      return true;
    }
    return false;
  };
  for (let item = 0; item < count; item += 1) give(item, new Set());
  return given;
}
