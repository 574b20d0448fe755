import type { Operation } from './operation.ts';

const NOTHING = new Uint8Array();

/** The same operation with one thing less in its request, each thing in turn. */
export function simplerOperations(operation: Operation): readonly Operation[] {
  if (operation.kind !== 'call' && operation.kind !== 'watch') return [];
  const requests = simpler(operation.request) as readonly (typeof operation.request)[];
  return requests.map((request) => ({ ...operation, request }) as Operation);
}

/** A list without one item or with a simpler one, a message with a field less, a number that is zero. */
function simpler(value: unknown): readonly unknown[] {
  if (typeof value === 'bigint') return value === 0n ? [] : [0n];
  if (typeof value === 'number') return value === 0 ? [] : [0];
  if (typeof value === 'boolean') return value ? [false] : [];
  if (value instanceof Uint8Array) return value.length === 0 ? [] : [NOTHING];
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    return [
      ...items.map((_, at) => items.toSpliced(at, 1)),
      ...items.flatMap((item, at) => simpler(item).map((less) => items.with(at, less))),
    ];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, field]) =>
    simpler(field).map((less) => ({ ...value, [name]: less })),
  );
}
