import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { IoError } from './exit.ts';
import type { Io } from './io.ts';

export interface Program {
  readonly program: string;
  readonly args: readonly string[];
  /** Beside the environment of kvctl. */
  readonly env: Readonly<Record<string, string>>;
  /** Aborted: it gets SIGTERM. */
  readonly signal: AbortSignal;
}

/** At a terminal it has the terminal; else its output joins ours. */
function stdioOf(io: Io): StdioOptions {
  return io.outIsTerminal ? 'inherit' : ['inherit', 'pipe', 'pipe'];
}

function join(child: ChildProcess, io: Io): void {
  child.stdout?.setEncoding('utf8').on('data', (text: string) => io.out(text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => io.err(text));
}

/** Runs a program to its end; answers its exit code, 128 and the signal's number when a signal ended it. Errors: IoError. */
export async function runProgram(io: Io, what: Program): Promise<number> {
  const { program, args, env, signal } = what;
  const child = spawn(program, args, { stdio: stdioOf(io), env: { ...io.env, ...env } });
  join(child, io);
  const stop = (): void => {
    child.kill('SIGTERM');
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (error) =>
        reject(new IoError(`cannot run ${program}: ${error.message}`)),
      );
      child.once('close', (code, name) => {
        resolve(code ?? 128 + (name === null ? 0 : constants.signals[name]));
      });
    });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
