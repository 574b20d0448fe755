import type { IncomingMessage } from 'node:http';

/** So much of a refused body is read and thrown away: some ten requests of the size that is allowed. */
const DISCARDED_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Reads the rest of a body that was refused, and keeps nothing of it. A client that is still sending when its connection closes
 * loses the answer with it: it sees a broken pipe where it should read what was wrong. Whether all was read: what is longer than
 * the bound, or did not come to its end (the server's request timeout ends those), leaves a connection that must be closed.
 */
export function discardBody(body: IncomingMessage): Promise<boolean> {
  if (body.complete) return Promise.resolve(true);
  if (Number(body.headers['content-length'] ?? 0) > DISCARDED_BYTES_MAX)
    return Promise.resolve(false);
  return new Promise((resolve) => {
    let bytes = 0;
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > DISCARDED_BYTES_MAX) end();
    };
    const end = (): void => {
      body.off('data', count).off('end', end).off('close', end);
      resolve(body.complete);
    };
    body.on('data', count).on('end', end).on('close', end);
    body.resume();
  });
}
