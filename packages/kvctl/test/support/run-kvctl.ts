import { setMaxListeners } from 'node:events';
import { run } from '@kvorum/kvctl';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface Surroundings {
  readonly stdin?: string;
  /** Standard input that comes bit by bit. */
  readonly pieces?: AsyncIterable<Uint8Array>;
  readonly askSecret?: (prompt: string) => Promise<string>;
  readonly env?: Readonly<Record<string, string>>;
  readonly terminal?: boolean;
  readonly signal?: AbortSignal;
  /** Called with everything printed so far after each write. */
  readonly onOut?: (out: string) => void;
}

async function* piecesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

/** Runs one kvctl command line in this process. */
export async function kvctl(args: readonly string[], around: Surroundings = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const signal = around.signal ?? new AbortController().signal;
  setMaxListeners(0, signal);
  const code = await run(args, {
    out: (text) => {
      out += text;
      around.onOut?.(out);
    },
    err: (text) => {
      err += text;
    },
    stdin: () => Promise.resolve(Buffer.from(around.stdin ?? '')),
    stdinPieces: () => around.pieces ?? piecesOf(around.stdin ?? ''),
    askSecret: around.askSecret,
    env: { PATH: process.env['PATH'], ...around.env },
    outIsTerminal: around.terminal === true,
    errIsTerminal: false,
    signal,
  });
  return { code, out, err };
}
