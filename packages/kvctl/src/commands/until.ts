import { askOn } from '../ask-on.ts';
import type { Context } from '../context.ts';

const POLL_MS = 250;

/**
 * Asks again and again until nothing is missing, and says on the error stream what it waits for, whenever that changes, unless told
 * otherwise. Answers what it found last, also when a --timeout that was given is over: then something is still missing.
 */
export async function askUntil<T>(
  context: Context,
  ask: () => Promise<T>,
  missing: (found: T) => string | undefined,
  { silent = false }: { readonly silent?: boolean } = {},
): Promise<T> {
  const { timeoutGiven, timeoutMs } = context.globals();
  const untilMs = timeoutGiven ? performance.now() + timeoutMs : Number.POSITIVE_INFINITY;
  let told: string | undefined;
  for (;;) {
    const found = await askOn(ask, timeoutMs);
    const wanted = missing(found);
    // An interrupted command asks no more.
    const isOver = performance.now() >= untilMs || context.io.signal.aborted;
    if (wanted === undefined || isOver) return found;
    if (wanted !== told && !silent) context.io.err(`waiting: ${wanted}\n`);
    told = wanted;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
