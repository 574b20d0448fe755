import type { Clock, RequestSignal } from '@kvorum/ports';

/**
 * Ends the wait of one request after a time. An AbortSignal that does the same costs more than the rest of sending the request, and
 * goes off whether or not the answer has come.
 */
export class RequestDeadline implements RequestSignal {
  readonly #clock: Pick<Clock, 'setTimer'>;
  readonly #afterMs: number;
  #cancel: (() => void) | undefined;
  aborted = false;

  /** The time runs from when somebody listens. */
  constructor(clock: Pick<Clock, 'setTimer'>, afterMs: number) {
    this.#clock = clock;
    this.#afterMs = afterMs;
  }

  get reason(): unknown {
    return new Error(`no answer within ${this.#afterMs} ms`);
  }

  /** One listener at a time. */
  addEventListener(_type: 'abort', listener: () => void): void {
    this.#cancel = this.#clock.setTimer(this.#afterMs, () => {
      this.aborted = true;
      listener();
    });
  }

  removeEventListener(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
