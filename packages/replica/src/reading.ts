import type { ReadAnswer, Reading } from '@kvorum/mvcc';
import type { StateReader } from '@kvorum/ports';

/** Answers a computation's reads from `reader` until it is done: the one place where pure reading meets I/O. */
export async function drive<T>(
  reading: Reading<T>,
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
