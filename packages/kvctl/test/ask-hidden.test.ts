import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { askHidden } from '../src/ask-hidden.ts';

/** A terminal on which somebody types; `log` has what was shown and how the terminal stood. */
class Typist extends EventEmitter {
  readonly log: string[] = [];
  setRawMode(isRaw: boolean): void {
    this.log.push(isRaw ? 'raw' : 'cooked');
  }
  resume(): void {}
  pause(): void {}
  write(text: string): void {
    this.log.push(text);
  }
  type(...texts: readonly string[]): void {
    for (const text of texts) this.emit('data', Buffer.from(text));
  }
}

describe('a question whose answer is not shown', () => {
  it('takes a line, corrections and all, and leaves the terminal as it was', async () => {
    const typist = new Typist();
    const asked = askHidden(typist, typist, 'Password: ');
    typist.type('se', 'crex\u007ft', '\r', 'behind');
    expect(await asked).toBe('secret');
    expect(typist.log).toEqual(['raw', 'Password: ', 'cooked', '\n']);
    expect(typist.listenerCount('data')).toBe(0);
  });

  it.each([
    ['\r', 'empty password'],
    ['se\u0003', 'exit 5'],
  ])('%j ends with %s', async (text, problem) => {
    const typist = new Typist();
    const asked = askHidden(typist, typist, 'Password: ');
    typist.type(text);
    await expect(asked).rejects.toThrow(problem);
    expect(typist.log.at(-2)).toBe('cooked');
  });
});
