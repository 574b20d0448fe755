import { randomInt } from 'node:crypto';

/** Time and chance, as the parts of the SDK see them that keep something alive; tests have their own. */
export interface Timing {
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** Calls `act` later, once; returns how to prevent that. */
  readonly after: (delayMs: number, act: () => void) => () => void;
  /** A number from 0 to below 1. */
  readonly random: () => number;
}

/** What timers can wait for at most. */
const TIMER_MS_MAX = 2 ** 31 - 1;

const RANDOM_STEPS = 2 ** 32;

export const systemTiming: Timing = {
  nowMs: () => performance.now(),
  after: (delayMs, act) => {
    const timer = setTimeout(act, Math.min(Math.max(0, delayMs), TIMER_MS_MAX));
    return () => clearTimeout(timer);
  },
  random: () => randomInt(RANDOM_STEPS) / RANDOM_STEPS,
};
