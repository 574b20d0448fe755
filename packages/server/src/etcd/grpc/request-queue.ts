/** Requests of a streaming call between the transport and its handler, in order. */
export class RequestQueue<Request> implements AsyncIterable<Request>, AsyncIterator<Request> {
  readonly #room: () => void;
  readonly #waiting: Request[] = [];
  #ended = false;
  #wanted: ((next: IteratorResult<Request>) => void) | undefined;

  /** @param room - called when the queue has been emptied. */
  constructor(room: () => void) {
    this.#room = room;
  }

  /** Returns how many wait. */
  push(request: Request): number {
    const wanted = this.#wanted;
    if (wanted !== undefined) {
      this.#wanted = undefined;
      wanted({ done: false, value: request });
      return 0;
    }
    if (!this.#ended) this.#waiting.push(request);
    return this.#waiting.length;
  }

  /** No more come; what waits is still handed out. */
  end(): void {
    this.#ended = true;
    this.#wanted?.({ done: true, value: undefined });
    this.#wanted = undefined;
  }

  /** Nobody reads any more. */
  drop(): void {
    this.#waiting.length = 0;
    this.end();
  }

  [Symbol.asyncIterator](): AsyncIterator<Request> {
    return this;
  }

  next(): Promise<IteratorResult<Request>> {
    const value = this.#waiting.shift();
    if (value !== undefined) {
      if (this.#waiting.length === 0) this.#room();
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#wanted = resolve;
    });
  }

  return(): Promise<IteratorResult<Request>> {
    this.drop();
    this.#room();
    return Promise.resolve({ done: true, value: undefined });
  }
}
