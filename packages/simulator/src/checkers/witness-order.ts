import type { RegisterState, RegisterStep } from './register-model.ts';

/** So many states at once: an unanswered txn whose branch hangs on revisions leads to two. */
const STATES_MAX = 64;

/**
 * Whether the order that others found (the log's, or that of the revisions that clients were told) is itself a linearization: every
 * step after all that returned before it was called, every answer as the values at its place are. Such an order is a
 * proof, whoever found it, since nothing here believes a revision; that it is none proves nothing.
 *
 * Needed because the search is exponential in the operations of unknown outcome: histories with twenty of them on joined keys took it
 * more than five million steps, while their log names the order.
 * @param placeOf - the step's place; infinite = it never took effect as far as the finder knows.
 */
export function isWitness(
  steps: readonly RegisterStep[],
  keyCount: number,
  placeOf: (step: RegisterStep) => number,
): boolean {
  const placed = steps.map((step) => ({ step, place: placeOf(step) }));
  const order = placed.filter(({ place }) => Number.isFinite(place));
  if (placed.some(({ place, step }) => step.required && !Number.isFinite(place))) return false;
  order.sort((a, b) => a.place - b.place || a.step.call - b.step.call);
  let states: readonly RegisterState[] = [new Array<string | undefined>(keyCount).fill(undefined)];
  let latestCall = Number.NEGATIVE_INFINITY;
  for (const { step } of order) {
    latestCall = Math.max(latestCall, step.call);
    // Something before it in the order was called only after it had returned.
    if (step.return < latestCall) return false;
    states = states.flatMap((state) => step.apply(state));
    if (states.length === 0 || states.length > STATES_MAX) return false;
  }
  return true;
}
