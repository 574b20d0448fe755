import { randomInt } from 'node:crypto';

/**
 * Doubling delays with jitter: the n-th is between half and all of `firstMs · 2ⁿ`, at most `maxMs`.
 */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  #failures = 0;

  constructor(firstMs: number, maxMs: number) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
  }

  get failures(): number {
    return this.#failures;
  }

  next(): number {
    const full = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    return full / 2 + randomInt(Math.ceil(full / 2) + 1);
  }

  reset(): void {
    this.#failures = 0;
  }
}
