import { createHash, type Hash } from 'node:crypto';

/** What happened in a run, line by line: always hashed, so that two runs can be compared; kept only on demand. */
export class Trace {
  readonly #hash: Hash = createHash('sha256');
  readonly #nowMs: () => number;
  readonly #print: ((line: string) => void) | undefined;
  #lineCount = 0;

  constructor(nowMs: () => number, print?: (line: string) => void) {
    this.#nowMs = nowMs;
    this.#print = print;
  }

  get lineCount(): number {
    return this.#lineCount;
  }

  line(who: string, text: string): void {
    const line = `${this.#nowMs().toFixed(0).padStart(7)} ${who.padEnd(6)} ${text}`;
    this.#lineCount += 1;
    this.#hash.update(line).update('\n');
    this.#print?.(line);
  }

  /** Ends the trace: 16 hex digits of the digest over all lines. */
  digest(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }
}
