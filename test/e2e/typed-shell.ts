import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { endWithUs } from './child-guard.ts';

export interface Answer {
  readonly code: number;
  /** stdout and stderr as they came. */
  readonly output: string;
}

/** One shell into which commands are typed, one after the other, as on a terminal: variables and functions stay. */
export class TypedShell {
  readonly #child: ChildProcess;
  readonly #mark = `done-${randomUUID()}`;
  #output = '';
  #changed: () => void = () => undefined;
  #ended = false;

  /** `atExit`: a command for when the shell ends, also when it is the test that ended. */
  constructor(cwd: string, environment: Readonly<Record<string, string>>, atExit: string) {
    this.#child = spawn('bash', [], {
      cwd,
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    endWithUs(this.#child);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#changed();
    });
    this.#child.once('close', () => {
      this.#ended = true;
      this.#changed();
    });
    this.#child.stdin?.write(`exec 2>&1\ntrap '${atExit}' EXIT\n`);
  }

  /** Resolves when the command is done. Errors: TypeError with what was printed when the time is over. */
  async type(command: string, timeoutMs: number): Promise<Answer> {
    this.#output = '';
    // `echo $?` after it must still find the code.
    const after = `__code=$?; printf '\\n%s %s\\n' '${this.#mark}' $__code; (exit $__code)`;
    this.#child.stdin?.write(`${command}\n${after}\n`);
    const untilMs = performance.now() + timeoutMs;
    const end = new RegExp(`\\n${this.#mark} (\\d+)\\n$`);
    for (;;) {
      const found = end.exec(this.#output);
      if (found !== null) {
        const output = this.#output.slice(0, found.index);
        const isWhole = output === '' || output.endsWith('\n');
        return { code: Number(found[1]), output: isWhole ? output : `${output}\n` };
      }
      const leftMs = untilMs - performance.now();
      if (this.#ended || leftMs <= 0) {
        throw new TypeError(`${command} did not come to an end; it printed\n${this.#output}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Ends the shell, after its last command. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin?.end();
    await closed;
  }
}
