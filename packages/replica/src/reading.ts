import type { ReadAnswer, Reading, ReadRequest } from '@kvorum/mvcc';
import type { StateReader } from '@kvorum/ports';

/** Answers a computation's reads from `reader` until it is done: the one place where pure reading meets I/O. */
export async function drive<T>(reading: Reading<T>, reader: StateReader): Promise<T> {
  let step = reading.next();
  while (step.done !== true) step = reading.next(await answer(step.value, reader));
  return step.value;
}

/** As `drive`, but gives up with undefined as soon as `isCurrent` no longer holds when an answer comes back. */
export async function driveWhile<T>(
  reading: Reading<T>,
  reader: StateReader,
  isCurrent: () => boolean,
): Promise<T | undefined> {
  let step = reading.next();
  while (step.done !== true) {
    const found = await answer(step.value, reader);
    if (!isCurrent()) return undefined;
    step = reading.next(found);
  }
  return step.value;
}

function answer(asked: ReadRequest, reader: StateReader): Promise<ReadAnswer> {
  return asked.kind === 'get-many'
    ? reader.getMany(asked.keys)
    : reader.scan({ gte: asked.gte, lt: asked.lt }, asked);
}
