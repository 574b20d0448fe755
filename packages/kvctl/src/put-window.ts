import { InvariantError } from '@kvorum/base';

const UNDER_WAY_MAX = 256;
const BYTES_MAX = 4 * 1024 * 1024;

interface Work {
  /** Works with one key come one after the other. */
  readonly key: Uint8Array;
  readonly bytes: number;
  readonly run: () => Promise<unknown>;
}

/** Many puts under way, bounded in number and bytes; those of one key in their order. The first that fails ends it. */
export class PutWindow {
  readonly #keys = new Map<string, Promise<void>>();
  /** Numbers of what has begun and not ended, the lowest first. */
  readonly #open = new Set<number>();
  #bytes = 0;
  #failure: unknown;
  #hasFailed = false;
  #wake: () => void = () => {};

  /** Waits until there is room, then begins. Errors: that of a work before it. */
  async add(number: number, { key, bytes, run }: Work): Promise<void> {
    const name = Buffer.from(key).toString('latin1');
    await this.#until(
      () =>
        this.#open.size === 0 ||
        (this.#open.size < UNDER_WAY_MAX && this.#bytes + bytes <= BYTES_MAX),
    );
    await this.#until(() => !this.#keys.has(name));
    this.#open.add(number);
    this.#bytes += bytes;
    const done = this.#run(run).then((isDone) => {
      this.#keys.delete(name);
      this.#bytes -= bytes;
      if (isDone) this.#open.delete(number);
      this.#wake();
    });
    this.#keys.set(name, done);
  }

  /** Waits for all. Errors: the first. */
  async end(): Promise<void> {
    await this.#until(() => this.#keys.size === 0);
  }

  /** Lowest number that is not known to be done; undefined when all are. Once nothing is under way. */
  async lowestOpen(): Promise<number | undefined> {
    await Promise.all(this.#keys.values());
    return this.#open.size === 0 ? undefined : Math.min(...this.#open);
  }

  async #run(run: () => Promise<unknown>): Promise<boolean> {
    try {
      await run();
      return true;
    } catch (error) {
      if (!this.#hasFailed) this.#failure = error;
      this.#hasFailed = true;
      return false;
    }
  }

  async #until(isSo: () => boolean): Promise<void> {
    for (;;) {
      if (this.#hasFailed) throw this.#error();
      if (isSo()) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #error(): Error {
    const failure = this.#failure;
    return failure instanceof Error ? failure : new InvariantError(String(failure));
  }
}
