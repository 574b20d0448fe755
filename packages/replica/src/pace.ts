/**
 * How fast something goes on in the background, over all replicas of a member: whoever did a piece says how long it should have taken, and
 * nobody begins another before that time is over. Pure bookkeeping; times are those of the member's monotonic clock, in milliseconds.
 */
export class Pace {
  #freeAtMs = Number.NEGATIVE_INFINITY;

  /** How long to wait before the next piece. */
  delayMs(nowMs: number): number {
    return Math.max(0, this.#freeAtMs - nowMs);
  }

  /** A piece is done that began at `startedMs` and may take `takesMs`. */
  spent(startedMs: number, takesMs: number): void {
    this.#freeAtMs = Math.max(this.#freeAtMs, startedMs) + takesMs;
  }
}

/** The paces that the replicas of a member share, so that many shards disturb no more than one. */
export interface Paces {
  readonly compaction: Pace;
  readonly install: Pace;
}

export function createPaces(): Paces {
  return { compaction: new Pace(), install: new Pace() };
}
