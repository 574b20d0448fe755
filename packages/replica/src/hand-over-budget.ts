import type { Limits } from '@kvorum/base';

/** So many attempts in a row are to stay within the aim; each later one has twice the time of the one before. */
const AIMED_ATTEMPTS = 3;
/** After a hand-over that was broken off its slots are served for so many times as long as they were not. */
const REST_TIMES = 4;
const REST_MS_MIN = 2000;
/** How often the time of a step is passed in a hand-over: the freeze, the last changes, the switch, the adoption. */
const STEPS = 4;

export type HandOverLimits = Pick<Limits, 'slotHandOverMsAim' | 'slotHandOverMsMax'>;

/**
 * For how long the slots of a move may be frozen in an attempt, from 1, milliseconds. Both leaders reckon it, from what stands in
 * the map and in the source's replicated state. It grows up to the limit, so that slow machines get there as well.
 */
export function handOverMs(limits: HandOverLimits, attempt: number): number {
  const { slotHandOverMsAim, slotHandOverMsMax } = limits;
  const doublings = Math.min(32, Math.max(0, attempt - AIMED_ATTEMPTS));
  return Math.min(slotHandOverMsMax, slotHandOverMsAim * 2 ** doublings);
}

/** How long the slots are left alone after an attempt that was broken off, milliseconds. */
export function restMs(budgetMs: number): number {
  return Math.max(REST_MS_MIN, REST_TIMES * budgetMs);
}

/** Whether a hand-over is likely to end in time when its steps take as long as the last one did. */
export function isInTime(budgetMs: number, stepMs: number): boolean {
  return STEPS * stepMs <= budgetMs;
}

/** Lets one at a time in: the hand-overs of a member, which would make each other slow. */
export class Gate {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `act` when everything that came before has ended. */
  pass<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
