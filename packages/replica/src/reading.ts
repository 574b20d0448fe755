import type { StateReader, StoreRow } from '@kvorum/ports';

/** What a pure computation of `mvcc` wants to know from the store. */
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
export type ReadAnswer = readonly (Uint8Array | undefined)[] | readonly StoreRow[];

/** Answers a computation's reads from `reader` until it is done: the one place where pure reading meets I/O. */
export async function drive<T>(
  reading: Generator<ReadRequest, T, ReadAnswer>,
  reader: StateReader,
): Promise<T> {
  let step = reading.next();
  while (step.done !== true) {
    const asked = step.value;
    const answer: ReadAnswer =
      asked.kind === 'get-many'
        ? await reader.getMany(asked.keys)
        : await reader.scan({ gte: asked.gte, lt: asked.lt }, asked);
    step = reading.next(answer);
  }
  return step.value;
}
