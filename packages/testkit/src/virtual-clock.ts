import { assert, InvariantError } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';

interface Timer {
  readonly dueMs: number;
  /** Order of creation: timers due at the same moment fire in it. */
  readonly order: number;
  readonly callback: () => void;
  cancelled: boolean;
}

const before = (a: Timer, b: Timer): boolean =>
  a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);

/** Wall time at virtual time 0, so that recorded times look like times. */
const WALL_START_MS = 1_700_000_000_000;

/** Time that moves only when told: the clock of simulations and of tests with time-outs. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #created = 0;
  /** Binary heap, earliest first. A cancelled timer stays until its turn. */
  readonly #heap: Timer[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return WALL_START_MS + Math.floor(this.#nowMs);
  }

  setTimer(delayMs: number, callback: () => void): () => void {
    const dueMs = this.#nowMs + Math.max(0, delayMs);
    if (!Number.isFinite(dueMs)) throw new InvariantError(`timer delay must be finite: ${delayMs}`);
    const timer: Timer = { dueMs, order: this.#created, callback, cancelled: false };
    this.#created += 1;
    this.#push(timer);
    return () => {
      timer.cancelled = true;
    };
  }

  /** Moves time on by `ms`, firing what falls due in order of (due time, creation), new timers included. */
  advance(ms: number): void {
    assert(ms >= 0, `time does not run backwards: ${ms}`);
    const untilMs = this.#nowMs + ms;
    while (this.#fireNext(untilMs)) {
      // #fireNext does the work; it returns false when nothing is due any more
    }
    this.#nowMs = untilMs;
  }

  /** Moves time to the next timer and fires it; false when there is none. */
  advanceToNextTimer(): boolean {
    return this.#fireNext(Number.POSITIVE_INFINITY);
  }

  /** When the next live timer falls due; undefined when there is none. */
  nextTimerMs(): number | undefined {
    this.#dropCancelled();
    return this.#heap[0]?.dueMs;
  }

  #fireNext(untilMs: number): boolean {
    this.#dropCancelled();
    const next = this.#heap[0];
    if (next === undefined || next.dueMs > untilMs) return false;
    this.#pop();
    this.#nowMs = next.dueMs;
    // A timer may be cancelled by its owner's later call after it fired; that must be harmless.
    next.cancelled = true;
    next.callback();
    return true;
  }

  #dropCancelled(): void {
    while (this.#heap[0]?.cancelled === true) this.#pop();
  }

  #at(index: number): Timer {
    const timer = this.#heap[index];
    assert(timer !== undefined, 'the heap has a hole');
    return timer;
  }

  #swap(i: number, j: number): void {
    const timer = this.#at(i);
    this.#heap[i] = this.#at(j);
    this.#heap[j] = timer;
  }

  #push(timer: Timer): void {
    this.#heap.push(timer);
    let at = this.#heap.length - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(timer, this.#at(parent))) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= this.#heap.length) return;
      const right = left + 1;
      const child =
        right < this.#heap.length && before(this.#at(right), this.#at(left)) ? right : left;
      if (!before(this.#at(child), last)) return;
      this.#swap(at, child);
      at = child;
    }
  }
}
