import type { Clock } from '@kvorum/ports';

/** The result if it comes in time; undefined when it does not, or fails. The work goes on all the same. */
export function within<T>(clock: Clock, ms: number, work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const cancel = clock.setTimer(ms, () => resolve(undefined));
    work
      .catch(() => undefined)
      .then((result) => {
        cancel();
        resolve(result);
      })
      .catch(() => undefined);
  });
}
