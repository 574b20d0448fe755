import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Time a process gets to end by itself before it is killed. */
const STOP_TIMEOUT_MS = 10_000;
const LOG_TAIL_BYTES = 2000;

/** A process the benchmark started, and where its output goes. */
export interface Started {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<void>;
  readonly logFile: string;
}

/** Every process and directory of one run, so that all of them can be ended by id, whatever happens. */
export class Workspace {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'kvorum-bench-'));
  readonly #children = new Map<
    number,
    { readonly child: ChildProcess; readonly started: Started }
  >();
  readonly #onClose: (() => Promise<void>)[] = [];
  #closing: Promise<void> | undefined;

  /** Stops everything when the user interrupts the run; the exit code is the shell's for that signal. */
  closeOnSignals(): void {
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      // A terminal and a runner above may both pass it on: only the first counts.
      process.on(signal, () => {
        if (this.isClosing) return;
        progress(`${signal}: stopping every process of this run`);
        void this.close().finally(() => process.exit(code));
      });
    }
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Throws {@link GivenUp} once the run is being stopped: what starts now would be left behind. */
  mustBeOpen(name: string): void {
    if (this.isClosing) throw new GivenUp(`${name}: the run is being stopped`);
  }

  /** Starts a program with its output in a file of the workspace. */
  spawn(name: string, command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Started {
    this.mustBeOpen(name);
    const logFile = join(this.dir, `${name}.log`);
    const output = openSync(logFile, 'a');
    // A process group of its own: Ctrl-C in the terminal reaches the benchmark alone, which then stops it in order.
    const child = spawn(command, args, {
      stdio: ['ignore', output, output],
      detached: true,
      env: { ...process.env, ...env },
    });
    closeSync(output);
    return this.track(name, child, logFile);
  }

  /** Takes charge of a child process that was started elsewhere. */
  track(name: string, child: ChildProcess, logFile: string): Started {
    const { pid } = child;
    // Told by the missing pid; without a listener the event would end the run.
    child.once('error', () => undefined);
    if (pid === undefined) throw new Error(`${name} could not be started`);
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => {
        this.#children.delete(pid);
        resolve();
      });
    });
    const started: Started = { name, pid, exited, logFile };
    this.#children.set(pid, { child, started });
    return started;
  }

  isRunning(started: Started): boolean {
    return this.#children.has(started.pid);
  }

  /** SIGKILL, as a crash; resolves when the process is gone. */
  async kill(started: Started): Promise<void> {
    this.#children.get(started.pid)?.child.kill('SIGKILL');
    await started.exited;
  }

  async stop(started: Started): Promise<void> {
    const found = this.#children.get(started.pid);
    if (found === undefined) return;
    found.child.kill('SIGTERM');
    const timer = setTimeout(() => found.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await started.exited;
    clearTimeout(timer);
  }

  /** Runs `work` when the workspace closes; the last registered first. */
  onClose(work: () => Promise<void>): void {
    this.#onClose.push(work);
  }

  /** Stops everything in the reverse order of its start and removes the workspace's files. */
  async close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    await this.#closing;
  }

  async #closeAll(): Promise<void> {
    for (const work of this.#onClose.reverse()) {
      await work().catch((error: unknown) => progress(`while stopping: ${String(error)}`));
    }
    await Promise.all(Array.from(this.#children.values(), ({ started }) => this.stop(started)));
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The end of a process's output, for an error message. */
export function logTail(started: Started): string {
  return readFileSync(started.logFile, 'utf8').slice(-LOG_TAIL_BYTES);
}

/** Thrown by a check that can never become true. */
export class GivenUp extends Error {
  override readonly name = 'GivenUp';
}

/**
 * Asks `check` until it answers true; one that throws counts as false. Throws after `timeoutMs`, naming what was
 * waited for, and at once when the check throws {@link GivenUp}.
 */
export async function waitUntil(
  what: string,
  timeoutMs: number,
  check: () => Promise<boolean>,
  everyMs: number = 100,
): Promise<void> {
  const endsAt = performance.now() + timeoutMs;
  const holds = async (): Promise<boolean> => {
    try {
      return await check();
    } catch (error) {
      if (error instanceof GivenUp) throw error;
      return false;
    }
  };
  while (!(await holds())) {
    if (performance.now() > endsAt) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await sleep(everyMs);
  }
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

const beganAt = performance.now();

/** One line on stderr, so that stdout holds the results alone. */
export function progress(text: string): void {
  const seconds = ((performance.now() - beganAt) / 1000).toFixed(0).padStart(4);
  process.stderr.write(`[${seconds} s] ${text}\n`);
}
