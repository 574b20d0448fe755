import type { Io } from './io.ts';

const PROGRESS_MS = 500;
const CLEAR_LINE = '\r\u001b[K';

/** One line on a terminal, rewritten; nothing where standard error is a file. Ends when the function it returns is called. */
export function showProgress(io: Io, text: () => string): () => void {
  if (!io.errIsTerminal) return () => {};
  const timer = setInterval(() => io.err(`${CLEAR_LINE}${text()}`), PROGRESS_MS);
  return () => {
    clearInterval(timer);
    io.err(CLEAR_LINE);
  };
}
