/** About what a decoded request takes beside its bytes. */
const REQUEST_BYTES = 256;

/** Requests of a streaming call between the transport and its handler, in order. */
export class RequestQueue<Request> implements AsyncIterable<Request>, AsyncIterator<Request> {
  readonly #room: () => void;
  readonly #holds: (change: number) => void;
  readonly #waiting: { readonly request: Request; readonly bytes: number }[] = [];
  #ended = false;
  #wanted: ((next: IteratorResult<Request>) => void) | undefined;

  /**
   * @param room - called when the queue has been emptied.
   * @param holds - called with each change of the memory that waiting requests take.
   */
  constructor(room: () => void, holds: (change: number) => void) {
    this.#room = room;
    this.#holds = holds;
  }

  /** Returns how many wait. `messageBytes`: of the request as it came. */
  push(request: Request, messageBytes: number): number {
    const wanted = this.#wanted;
    if (wanted !== undefined) {
      this.#wanted = undefined;
      wanted({ done: false, value: request });
      return 0;
    }
    if (!this.#ended) {
      const bytes = messageBytes + REQUEST_BYTES;
      this.#waiting.push({ request, bytes });
      this.#holds(bytes);
    }
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
    const held = this.#waiting.splice(0).reduce((sum, { bytes }) => sum + bytes, 0);
    if (held > 0) this.#holds(-held);
    this.end();
  }

  [Symbol.asyncIterator](): AsyncIterator<Request> {
    return this;
  }

  next(): Promise<IteratorResult<Request>> {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      this.#holds(-next.bytes);
      if (this.#waiting.length === 0) this.#room();
      return Promise.resolve({ done: false, value: next.request });
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
