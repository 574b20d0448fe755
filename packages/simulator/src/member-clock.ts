import type { Clock } from '@kvorum/ports';

export interface MemberClockOptions {
  /** What the monotonic clock shows when the world begins. */
  readonly startMs: number;
  /** How far the wall clock is ahead of the world's. */
  readonly wallAheadMs: number;
  /** How much faster than the world's both clocks run, in 1/1024; negative = slower. */
  readonly drift: number;
}

const DRIFT_UNIT = 1024;

/**
 * The clocks of one member's machine: started at any time, fast or slow, the wall clock hours or days off and jumping. While the machine is
 * suspended the monotonic clock stands still, as CLOCK_MONOTONIC does.
 */
export class MemberClock implements Clock {
  readonly #world: Clock;
  readonly #startMs: number;
  readonly #rate: number;
  #wallAheadMs: number;
  #suspendedMs = 0;
  #suspendedAtMs: number | undefined;

  constructor(world: Clock, options: MemberClockOptions) {
    this.#world = world;
    this.#startMs = options.startMs;
    this.#rate = 1 + options.drift / DRIFT_UNIT;
    this.#wallAheadMs = options.wallAheadMs;
  }

  nowMs(): number {
    const worldMs = this.#suspendedAtMs ?? this.#world.nowMs();
    return Math.floor((worldMs - this.#suspendedMs) * this.#rate) + this.#startMs;
  }

  wallMs(): number {
    return (
      Math.floor(this.#world.wallMs() + this.#world.nowMs() * (this.#rate - 1)) + this.#wallAheadMs
    );
  }

  /** Never fires before `delayMs` have passed on this clock. */
  setTimer(delayMs: number, callback: () => void): () => void {
    const dueMs = this.nowMs() + delayMs;
    let cancel: () => void = () => undefined;
    const arm = (): void => {
      const leftMs = Math.ceil((dueMs - this.nowMs()) / this.#rate);
      cancel = this.#world.setTimer(Math.max(0, leftMs), () => {
        // A clock that stands still sets no timer off; it is looked at again once it runs.
        if (this.#suspendedAtMs !== undefined || this.nowMs() >= dueMs) callback();
        else arm();
      });
    };
    arm();
    return () => cancel();
  }

  jump(ms: number): void {
    this.#wallAheadMs += ms;
  }

  suspend(): void {
    this.#suspendedAtMs ??= this.#world.nowMs();
  }

  wake(): void {
    if (this.#suspendedAtMs === undefined) return;
    this.#suspendedMs += this.#world.nowMs() - this.#suspendedAtMs;
    this.#suspendedAtMs = undefined;
  }
}
