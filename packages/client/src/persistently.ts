import { isKvError, KvError } from '@kvorum/base';
import { Backoff } from './backoff.ts';
import { aborted, pauseFor } from './question.ts';

/** Until when something is tried. */
export interface Persistence {
  /** On the clock of `nowMs`; infinite = for ever. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
  /** For one attempt at the most. */
  readonly attemptMs: number;
}

/** Whether it may be otherwise at another time: what asks so knows that a second attempt does no harm. */
export function isPassing(error: unknown): error is KvError {
  if (!isKvError(error) || error.code === 'KV_CANCELLED') return false;
  return error.retry !== 'never' && error.retry !== 'operator';
}

/**
 * Repeats what may be repeated whatever became of it, until it succeeds. Errors: the last one at the deadline; KV_CANCELLED; what will
 * not pass.
 */
export async function persistently<T>(
  act: (timeoutMs: number) => Promise<T>,
  { deadlineMs, signal, nowMs, attemptMs }: Persistence,
): Promise<T> {
  const backoff = new Backoff(10, 500);
  let last: KvError | undefined;
  for (;;) {
    if (signal.aborted) throw aborted(signal);
    const leftMs = deadlineMs - nowMs();
    if (leftMs <= 0) throw last ?? new KvError('KV_DEADLINE');
    try {
      return await act(Math.min(leftMs, attemptMs));
    } catch (error) {
      if (!isPassing(error)) throw error;
      last = error;
    }
    await pauseFor(Math.min(backoff.next(), Math.max(0, deadlineMs - nowMs())), signal);
  }
}
