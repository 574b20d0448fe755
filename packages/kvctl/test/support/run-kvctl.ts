import { type ExitCode, run } from '@kvorum/kvctl';

export interface Ran {
  readonly code: ExitCode;
  readonly out: string;
  readonly err: string;
}

export interface Surroundings {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly terminal?: boolean;
  readonly signal?: AbortSignal;
  /** Called with everything printed so far after each write. */
  readonly onOut?: (out: string) => void;
}

/** Runs one kvctl command line in this process. */
export async function kvctl(args: readonly string[], around: Surroundings = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const code = await run(args, {
    out: (text) => {
      out += text;
      around.onOut?.(out);
    },
    err: (text) => {
      err += text;
    },
    stdin: () => Promise.resolve(Buffer.from(around.stdin ?? '')),
    env: { PATH: process.env['PATH'], ...around.env },
    outIsTerminal: around.terminal === true,
    errIsTerminal: false,
    signal: around.signal ?? new AbortController().signal,
  });
  return { code, out, err };
}
