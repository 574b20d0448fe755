import type { LogIndex } from '@kvorum/base';

/** Callbacks that run once everything up to an index is applied, in the order of their indexes. */
export class AppliedWaiters {
  #waiting: { readonly index: LogIndex; readonly run: () => void }[] = [];

  get size(): number {
    return this.#waiting.length;
  }

  add(index: LogIndex, run: () => void): void {
    let at = this.#waiting.length;
    while (at > 0 && (this.#waiting[at - 1] as { index: LogIndex }).index > index) at -= 1;
    this.#waiting.splice(at, 0, { index, run });
  }

  /** Runs what `applied` has reached. */
  advance(applied: LogIndex): void {
    let count = 0;
    while (
      count < this.#waiting.length &&
      (this.#waiting[count] as { index: LogIndex }).index <= applied
    ) {
      count += 1;
    }
    if (count === 0) return;
    for (const waiter of this.#waiting.splice(0, count)) waiter.run();
  }

  clear(): void {
    this.#waiting = [];
  }
}
