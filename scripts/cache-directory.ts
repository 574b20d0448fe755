import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where tests and scripts keep what they fetched or built once: the user's cache, outside the work tree. */
export function cacheDirectory(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kvorum');
}
