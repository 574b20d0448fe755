import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { KvError, toHex } from '@kvorum/base';
import type { OpenedShards } from '@kvorum/replica';

/** Beside the identity, not below `replicas`: who deletes replicas must not delete what tells of them. */
const FILE = 'opened-shards';
const UID = /^[0-9a-f]{32}$/;

/**
 * The shards that this disk has had a replica of, one uid in hex a line, in a file of the data directory. Errors: KV_DATA_DIR when it
 * cannot be read or written.
 */
export function openedShards(directory: string): OpenedShards {
  const path = join(directory, FILE);
  const known = guarded(path, () => new Set(readLines(path)));
  return {
    has: (uid) => known.has(toHex(uid)),
    add: async (uid) => {
      guarded(path, () => append(path, directory, toHex(uid)));
      known.add(toHex(uid));
    },
  };
}

/** A line that a crash cut short was not yet relied upon. */
function readLines(path: string): readonly string[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => UID.test(line));
}

function append(path: string, directory: string, line: string): void {
  const isNew = !existsSync(path);
  synced(path, 'a', (file) => writeSync(file, `\n${line}\n`));
  if (isNew) synced(directory, 'r', () => undefined);
}

function synced(path: string, flags: string, act: (file: number) => void): void {
  const file = openSync(path, flags, 0o600);
  try {
    act(file);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function guarded<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new KvError('KV_DATA_DIR', `${path}: ${(error as Error).message}`, {
      details: { hint: 'make it a file this user can read and write' },
      cause: error,
    });
  }
}
