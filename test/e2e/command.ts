import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { endWithUs } from './child-guard.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const OUTPUT_CHARS_MAX = 200_000;

/** What `npm run build` made: the tests run what a stranger runs. */
export const KVD: string = resolve(ROOT, 'packages/server/dist/main.js');
export const KVCTL: string = resolve(ROOT, 'packages/kvctl/dist/main.js');

export interface CommandOptions {
  /** Also written there. */
  readonly logFile?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface CommandEnd {
  readonly code: number | null;
  readonly output: string;
}

/** A program in a process of its own, with everything it prints. */
export class Program {
  readonly #child: ChildProcess;
  readonly #file: WriteStream | undefined;
  readonly #end: Promise<number | null>;
  #output = '';

  /** @param name - as on the PATH, or a path. */
  constructor(name: string, args: readonly string[], options: CommandOptions = {}) {
    this.#file = options.logFile === undefined ? undefined : createLog(options.logFile);
    this.#child = spawn(name, args, {
      cwd: options.cwd ?? ROOT,
      env: { ...process.env, ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    endWithUs(this.#child);
    const collect = (chunk: Buffer): void => {
      this.#file?.write(chunk);
      this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
    };
    this.#child.stdout?.on('data', collect);
    this.#child.stderr?.on('data', collect);
    this.#end = once(this.#child, 'close').then(([code]) => {
      this.#file?.end();
      return code as number | null;
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** stdout and stderr, as they came; the newest part when it is long. */
  get output(): string {
    return this.#output;
  }

  /** Its exit code and output once it has ended; after `timeoutMs` it is killed, and its code is null. */
  async end(timeoutMs = 120_000): Promise<CommandEnd> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs);
    const code = await this.#end;
    clearTimeout(timer);
    return { code, output: this.#output };
  }

  /** Waits until it has printed `text`. */
  async until(text: string, timeoutMs = 60_000): Promise<void> {
    const deadline = AbortSignal.timeout(timeoutMs);
    while (!this.#output.includes(text)) {
      if (!this.running) throw new TypeError(`ended before "${text}":\n${this.#output}`);
      if (deadline.aborted) throw new TypeError(`never printed "${text}":\n${this.#output}`);
      await new Promise((done) => setTimeout(done, 25));
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Sends the signal (SIGKILL unless told) and waits until the process is gone. */
  async kill(name: NodeJS.Signals = 'SIGKILL'): Promise<CommandEnd> {
    if (this.running) this.#child.kill(name);
    return this.end();
  }
}

/** One program of the product. */
export class Command extends Program {
  constructor(script: string, args: readonly string[], options: CommandOptions = {}) {
    super(process.execPath, [script, ...args], options);
  }
}

function createLog(path: string): WriteStream {
  return createWriteStream(path, { flags: 'a' });
}
