/** A reader gives a part of its window back for what it has read; the smallest pieces that are usual are a few to a frame. */
const UPDATES_PER_FRAME = 8;
const DUE_MAX = 10_000;

/** Tells window updates that a reader of answers has reason for from those that only cost time. */
export class WindowGuard {
  #due = 0;

  /** Data went to the peer, or it opened a stream, whose window it may widen at once. */
  moved(): void {
    this.#due = Math.min(DUE_MAX, this.#due + UPDATES_PER_FRAME);
  }

  /** False: nothing has happened that this update can be about. */
  received(): boolean {
    if (this.#due === 0) return false;
    this.#due -= 1;
    return true;
  }
}
