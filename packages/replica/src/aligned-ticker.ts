import type { Clock } from '@kvorum/ports';

/** Ticks at multiples of an interval: all replicas of a process in the same turn, so that their heartbeats share one frame per peer. */
export class AlignedTicker {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #tick: (nowMs: number) => void;
  #cancel: () => void = () => undefined;

  constructor(clock: Clock, everyMs: number, tick: (nowMs: number) => void) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#tick = tick;
  }

  start(): void {
    const delayMs = this.#everyMs - (this.#clock.nowMs() % this.#everyMs);
    this.#cancel = this.#clock.setTimer(delayMs, () => {
      this.start();
      this.#tick(this.#clock.nowMs());
    });
  }

  stop(): void {
    this.#cancel();
  }
}
