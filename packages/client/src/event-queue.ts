/**
 * Values handed from callbacks to one `for await` consumer, counted so that the producer can stop
 * in time.
 */
export class EventQueue<T> {
  readonly #items: T[] = [];
  #head = 0;
  #waiting: { resolve: (r: IteratorResult<T>) => void; reject: (e: Error) => void } | undefined =
    undefined;
  #end: { readonly error: Error | undefined } | undefined = undefined;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    if (this.#end !== undefined) return;
    const waiting = this.#waiting;
    if (waiting === undefined) {
      this.#items.push(item);
      return;
    }
    this.#waiting = undefined;
    waiting.resolve({ done: false, value: item });
  }

  /**
   * What is queued is still delivered; then the consumer sees the error, or the end when there is
   * none.
   */
  finish(error?: Error): void {
    if (this.#end !== undefined) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    // Reported once: to whoever waits now, else to the next one who asks.
    this.#end = { error: waiting === undefined ? error : undefined };
    if (waiting === undefined) return;
    if (error === undefined) waiting.resolve({ done: true, value: undefined });
    else waiting.reject(error);
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items[this.#head];
    if (this.#head < this.#items.length && item !== undefined) {
      this.#head += 1;
      if (this.#head === this.#items.length) {
        this.#items.length = 0;
        this.#head = 0;
      }
      return Promise.resolve({ done: false, value: item });
    }
    const end = this.#end;
    if (end !== undefined) {
      if (end.error === undefined) return Promise.resolve({ done: true, value: undefined });
      const { error } = end;
      this.#end = { error: undefined };
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }
}
