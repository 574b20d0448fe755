import { errorSpec, isKvError } from '@kvorum/base';

const PAUSE_MS = 250;
const PASSING: ReadonlySet<string> = new Set(['backoff', 'other-member', 'read-back']);

/**
 * Asks again when whoever was asked went away or knew no leader: members come and go while a command waits, and a question changes nothing.
 *
 * @param patienceMs - for one answer, all tries together.
 * Errors: the last one when that is over; at once one that another try would only give again.
 */
export async function askOn<T>(ask: () => Promise<T>, patienceMs: number): Promise<T> {
  const untilMs = performance.now() + patienceMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const isPassing = isKvError(error) && PASSING.has(errorSpec(error.code).retry);
      if (!isPassing || performance.now() >= untilMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
