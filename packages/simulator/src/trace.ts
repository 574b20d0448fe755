import { createHash, type Hash } from 'node:crypto';

/** Characters. */
const HASHED_AT_ONCE = 16_384;

/**
 * The frames of a stack in a text that is JSON. They are shown, but not hashed: they tell where the code lies and from where the event loop
 * came, which equal runs need not share.
 */
const FRAME = '\\n    at ';
const FRAMES = /\\n {4}at [^"\\]*/g;

/** What happened in a run, line by line: always hashed, so that two runs can be compared; kept only on demand. */
export class Trace {
  readonly #hash: Hash = createHash('sha256');
  readonly #nowMs: () => number;
  readonly #print: ((line: string) => void) | undefined;
  /** Lines that are not hashed yet. */
  #text = '';
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
    this.#text += line.includes(FRAME) ? `${line.replaceAll(FRAMES, '')}\n` : `${line}\n`;
    if (this.#text.length >= HASHED_AT_ONCE) this.#hashText();
    this.#print?.(line);
  }

  /** Ends the trace: 16 hex digits of the digest over all lines. */
  digest(): string {
    this.#hashText();
    return this.#hash.copy().digest('hex').slice(0, 16);
  }

  #hashText(): void {
    this.#hash.update(this.#text);
    this.#text = '';
  }
}
