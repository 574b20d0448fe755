import { StringDecoder } from 'node:string_decoder';
import { EXIT, Exit, InputError } from './exit.ts';

const ENTER = ['\r', '\n'];
const RUB_OUT = ['\b', '\u007f'];
const INTERRUPT = '\u0003';
const END = '\u0004';

/** What is needed of a terminal. */
export interface Terminal {
  setRawMode(isRaw: boolean): unknown;
  resume(): unknown;
  pause(): unknown;
  on(event: 'data', listener: (bytes: Buffer) => void): unknown;
  off(event: 'data', listener: (bytes: Buffer) => void): unknown;
}

/** A line from the terminal that is not shown on it. Errors: InputError when nothing was typed; Exit on Ctrl-C. */
export async function askHidden(
  from: Terminal,
  to: { write(text: string): unknown },
  prompt: string,
): Promise<string> {
  // First: what is typed at once must not be shown either.
  from.setRawMode(true);
  to.write(prompt);
  from.resume();
  try {
    const text = await typedLine(from);
    if (text === '') throw new InputError('empty password');
    return text;
  } finally {
    from.setRawMode(false);
    from.pause();
    to.write('\n');
  }
}

/** What was typed so far. */
class Typed {
  readonly #chars: string[] = [];

  /** Whether the line goes on. Errors: Exit on Ctrl-C. */
  takes(char: string): boolean {
    if (char === INTERRUPT) throw new Exit(EXIT.unhealthyOrInterrupted);
    if (ENTER.includes(char) || char === END) return false;
    if (RUB_OUT.includes(char)) this.#chars.pop();
    else this.#chars.push(char);
    return true;
  }

  get text(): string {
    return this.#chars.join('');
  }
}

function typedLine(from: Terminal): Promise<string> {
  const decoder = new StringDecoder('utf8');
  const typed = new Typed();
  return new Promise((resolve, reject) => {
    const onData = (bytes: Buffer): void => {
      try {
        if (Array.from(decoder.write(bytes)).every((char) => typed.takes(char))) return;
        resolve(typed.text);
      } catch (error) {
        reject(error as Error);
      }
      from.off('data', onData);
    };
    from.on('data', onData);
  });
}
