#!/usr/bin/env node
import { setMaxListeners } from 'node:events';
import type { Io } from './io.ts';
import { run } from './program.ts';

const interrupt = new AbortController();
// Every call under way listens to it.
setMaxListeners(0, interrupt.signal);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => interrupt.abort());
}
// A reader that went away (`kvctl get … | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 6);
});

async function readStdin(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

/** Loaded only where somebody is asked. */
async function askSecret(prompt: string): Promise<string> {
  const { askHidden } = await import('./ask-hidden.ts');
  return askHidden(process.stdin, process.stderr, prompt);
}

const io: Io = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  stdin: readStdin,
  stdinPieces: () => process.stdin,
  ...(process.stdin.isTTY === true && process.stderr.isTTY === true ? { askSecret } : {}),
  env: process.env,
  outIsTerminal: process.stdout.isTTY === true,
  errIsTerminal: process.stderr.isTTY === true,
  signal: interrupt.signal,
};

process.exitCode = await run(process.argv.slice(2), io);
