/**
 * The sequence numbers of one client session in one shard: handed out densely from 1, and the mark
 * below which every command has been answered or given up, which lets the server forget their
 * results.
 */
export class SessionWindow {
  #last = 0;
  #ackedThrough = 0;
  readonly #doneAhead = new Set<number>();
  #isKnown = false;

  /**
   * 0 until the shard has answered a write of this session: a shard that knows no session takes a retry above 0 for one that
   * expired, though nothing of it was ever recorded there.
   */
  get ackedThrough(): number {
    return this.#isKnown ? this.#ackedThrough : 0;
  }

  /** The shard has recorded a write of this session. */
  recorded(): void {
    this.#isKnown = true;
  }

  next(): number {
    this.#last += 1;
    return this.#last;
  }

  /**
   * `seq` will not be sent again: answered, or abandoned at its deadline (a hole must not hold back
   * the mark for ever).
   */
  settle(seq: number): void {
    if (seq !== this.#ackedThrough + 1) {
      this.#doneAhead.add(seq);
      return;
    }
    this.#ackedThrough = seq;
    while (this.#doneAhead.delete(this.#ackedThrough + 1)) this.#ackedThrough += 1;
  }
}
