import { spawn } from 'node:child_process';
import { run } from '@kvorum/kvctl';
import type { Step } from './console-blocks.ts';

const ENDPOINT = '127.0.0.1:2379';

/** Runs a shell command; resolves with what it printed. A command that fails fails the test. */
function shell(command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`${command}: exit code ${code}`)),
    );
  });
}

/** Words of a command line as the shell splits them. */
async function wordsOf(text: string): Promise<string[]> {
  return (await shell(`printf '%s\\0' ${text}`)).split('\0').slice(0, -1);
}

export interface RunOptions {
  /** host:port that stands for the first default endpoint. */
  readonly endpoint: string;
  readonly signal: AbortSignal;
  /** Called with everything printed so far. */
  readonly onOutput?: (text: string) => void;
}

/**
 * `[producer |] npx kvctl …`: the producer by the shell, kvctl in this process; every other command by the shell. Resolves with
 * standard output, then standard error.
 */
export async function runStep(step: Step, options: RunOptions): Promise<string> {
  const found = /^(?:(.*) \| )?npx kvctl (.*)$/.exec(step.command);
  if (found === null) {
    const printed = await shell(step.command.replaceAll(ENDPOINT, options.endpoint));
    // On a page the next line begins where the prompt would.
    return printed === '' || printed.endsWith('\n') ? printed : `${printed}\n`;
  }
  const [, producer, text = ''] = found;
  const stdin = producer === undefined ? (step.stdin ?? '') : await shell(producer);
  let out = '';
  let err = '';
  await run(['--endpoints', options.endpoint, ...(await wordsOf(text))], {
    out: (written) => {
      out += written;
      options.onOutput?.(out);
    },
    err: (written) => {
      err += written;
    },
    stdin: () => Promise.resolve(Buffer.from(stdin)),
    stdinPieces: async function* () {
      yield Buffer.from(stdin);
    },
    env: { ...process.env },
    outIsTerminal: false,
    errIsTerminal: false,
    signal: options.signal,
  });
  return out + err;
}
