import { randomInt } from 'node:crypto';

const FIRST_MS = 20;
const LONGEST_MS = 250;
/** After this long without trouble the next trouble starts from the shortest pause again. */
const FORGET_MS = 2000;

/**
 * Pauses between attempts: doubling, with jitter so that members do not ask in step. The longest is short, because
 * writes of a shard stand still meanwhile.
 */
export class BackOff {
  #pauseMs = FIRST_MS;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** How long to wait before an attempt that starts at `nowMs`. */
  nextMs(nowMs: number): number {
    const sinceMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    if (sinceMs > FORGET_MS) {
      this.#pauseMs = FIRST_MS;
      return 0;
    }
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(LONGEST_MS, 2 * pauseMs);
    return randomInt(Math.ceil(pauseMs / 2), pauseMs + 1);
  }
}
