import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Whether the operating system refused with this code, e.g. ENOENT. */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Syncs a file or a directory (the names in it) to the disk. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Syncs every write-ahead log of a LevelDB; one deleted meanwhile is no longer needed. */
export async function syncWriteAheadLogs(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.log'));
  for (const name of names) {
    try {
      await syncPath(join(directory, name));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
}
