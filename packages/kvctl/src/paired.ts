import { compareBytes } from '@kvorum/base';

interface Keyed {
  readonly key: Uint8Array;
}

/** Two sides in the order of their keys, as pairs of one key. */
export async function* paired<A extends Keyed, B extends Keyed>(
  before: AsyncIterator<A, undefined>,
  after: AsyncIterator<B, undefined>,
): AsyncGenerator<readonly [A | undefined, B | undefined]> {
  const next = async <T>(side: AsyncIterator<T, undefined>): Promise<T | undefined> => {
    const result: IteratorResult<T, undefined> = await side.next();
    return result.value;
  };
  let left = await next(before);
  let right = await next(after);
  while (left !== undefined || right !== undefined) {
    const order =
      left === undefined ? 1 : right === undefined ? -1 : compareBytes(left.key, right.key);
    yield [order <= 0 ? left : undefined, order >= 0 ? right : undefined];
    if (order <= 0) left = await next(before);
    if (order >= 0) right = await next(after);
  }
}
