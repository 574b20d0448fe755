import type { Limits } from '@kvorum/base';

/** Of the time that a batch takes from its sealing to its answers, what the next one may wait at most. */
const ROUND_SHARE = 0.5;
/** Weight of the latest batch in the smoothed duration. */
const SMOOTHING = 0.2;

/**
 * How long the next batch waits for the clients that were just answered.
 *
 * Clients that write one after the other come back soon after their answer. A batch sealed at once takes along only those who queued
 * meanwhile, so that they split into two groups that wait for each other's batches; and a batch costs about as much whether one
 * command is in it or twenty. So as many are awaited as were there a batch ago, answered and queued together. A client on its own
 * finds itself expected alone, and never waits; nor does anybody later than {@link Limits.batchGatherMs}, or half of a batch's
 * usual time, after the last answers. See docs/adr/0031.
 */
export class Gathering {
  readonly #limits: Pick<Limits, 'batchGatherMs' | 'batchCommandsMax'>;
  #expected = 0;
  #untilMs = 0;
  #sealedMs = 0;
  #roundMs = 0;

  constructor(limits: Pick<Limits, 'batchGatherMs' | 'batchCommandsMax'>) {
    this.#limits = limits;
  }

  sealed(nowMs: number): void {
    this.#sealedMs = nowMs;
    this.#expected = 0;
  }

  settled(nowMs: number, answered: number, queued: number): void {
    const roundMs = nowMs - this.#sealedMs;
    this.#roundMs += (roundMs - this.#roundMs) * SMOOTHING;
    this.#expected = Math.min(answered + queued, this.#limits.batchCommandsMax);
    this.#untilMs = nowMs + Math.min(this.#roundMs * ROUND_SHARE, this.#limits.batchGatherMs);
  }

  /** Whether everybody who is expected has come. */
  isComplete(queued: number): boolean {
    return queued >= this.#expected;
  }

  /** Milliseconds that the rest may still take to come. */
  leftMs(nowMs: number): number {
    return Math.max(0, this.#untilMs - nowMs);
  }
}
