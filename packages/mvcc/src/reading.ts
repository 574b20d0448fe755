/** A request of the pure core to the replica's store; shapes as StateReader of the ports package. */
export type ReadRequest =
  | { readonly kind: 'get-many'; readonly keys: readonly Uint8Array[] }
  | {
      readonly kind: 'scan';
      readonly gte: Uint8Array;
      readonly lt: Uint8Array;
      readonly reverse?: boolean;
      readonly limit: number;
      readonly bytesMax: number;
      readonly keysOnly?: boolean;
    };

export type StoredValue = Uint8Array | undefined;
export type StoredRow = readonly [key: Uint8Array, value: Uint8Array];

/** The answer to the request just yielded: values of `get-many` in order, or the rows of `scan`. */
export type ReadAnswer = readonly StoredValue[] | readonly StoredRow[];

/**
 * A computation that needs the store: it yields requests, is resumed with their answers and returns T.
 *
 * Why: the state machine stays free of I/O and promises; the shell drives it over a StateReader.
 */
export type Reading<T> = Generator<ReadRequest, T, ReadAnswer>;

/** Rows asked for in one scan of this package; bounds the memory of a step. */
export const SCAN_ROWS_MAX = 1024;
export const SCAN_BYTES_MAX: number = 1024 * 1024;

/** Values of the keys, in their order. Asks nothing when there is no key. */
export function* getMany(keys: readonly Uint8Array[]): Reading<readonly StoredValue[]> {
  if (keys.length === 0) return [];
  return (yield { kind: 'get-many', keys }) as readonly StoredValue[];
}

/** At most SCAN_ROWS_MAX rows of [gte, lt). An empty answer means that the range is exhausted. */
export function* scanChunk(gte: Uint8Array, lt: Uint8Array): Reading<readonly StoredRow[]> {
  return (yield {
    kind: 'scan',
    gte,
    lt,
    limit: SCAN_ROWS_MAX,
    bytesMax: SCAN_BYTES_MAX,
  }) as readonly StoredRow[];
}

/** Visits all rows of [gte, lt), ascending. */
export function* eachRow(
  gte: Uint8Array,
  lt: Uint8Array,
  visit: (storeKey: Uint8Array, value: Uint8Array) => void,
): Reading<void> {
  let from = gte;
  for (;;) {
    const rows = yield* scanChunk(from, lt);
    const last = rows.at(-1);
    if (last === undefined) return;
    for (const [storeKey, value] of rows) visit(storeKey, value);
    from = keyAfter(last[0]);
  }
}

/** The smallest key above `key`: where a scan goes on after it. */
export function keyAfter(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
