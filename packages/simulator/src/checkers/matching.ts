import type { SeenRevisions } from './real-time.ts';
import type { RecordedOperation } from './recorded-history.ts';

/**
 * Gives each of `count` items one of its candidates, no candidate to two items, to as many items as possible (Kuhn). Returns the
 * candidate per item, undefined where none is left.
 */
function matchItems(
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

/**
 * Gives each revision that nobody acknowledged the operation of unknown outcome that made it: one that real time allows there, as far as
 * there is one, else any: then it is the order that is wrong.
 */
export function placeUnknown(
  revisions: readonly number[],
  able: readonly (readonly RecordedOperation[])[],
  seen: SeenRevisions,
): readonly (RecordedOperation | undefined)[] {
  const byId = new Map<number, RecordedOperation>();
  const unknown = able.map((list) => list.filter(({ result }) => result.outcome === 'unknown'));
  const timely = unknown.map((list, item) =>
    list.filter((operation) => {
      byId.set(operation.id, operation);
      return seen.before(operation.call) < (revisions[item] ?? 0);
    }),
  );
  const idsOf = (list: readonly RecordedOperation[] = []): readonly number[] =>
    list.map(({ id }) => id);
  const given = matchItems(revisions.length, (item) => idsOf(timely[item]));
  const taken = new Set(given);
  return given.map((id, item) => {
    const rest = unknown[item]?.find((one) => !taken.has(one.id));
    if (id === undefined && rest !== undefined) taken.add(rest.id);
    return id === undefined ? rest : byId.get(id);
  });
}
