import { access, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { syncPath, syncWriteAheadLogs } from './synced-files.ts';

const SIDE = '.side';
const ADOPT = '.adopt';

/** What must not be a store's name: the places beside it. */
export const RESERVED_NAME: RegExp = /\.(?:side|adopt)$/;

export function mainDirectory(root: string, name: string): string {
  return join(root, name);
}

export function sideDirectory(root: string, name: string): string {
  return join(root, `${name}${SIDE}`);
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * Puts the side store in the place of the store. A directory cannot be renamed onto one that holds files, so a marker file decides: once
 * it is on the disk the side store is the store, and whoever comes next finishes the move.
 */
export async function adoptSideDirectory(root: string, name: string): Promise<void> {
  const side = sideDirectory(root, name);
  await syncWriteAheadLogs(side);
  await syncPath(side);
  const marker = join(root, `${name}${ADOPT}`);
  await writeFile(marker, '', { flush: true });
  await syncPath(root);
  await finishAdoption(root, name);
}

/** Carries an adoption that a crash interrupted to its end; does nothing when there is none. */
export async function finishAdoption(root: string, name: string): Promise<void> {
  const marker = join(root, `${name}${ADOPT}`);
  if (!(await exists(marker))) return;
  const side = sideDirectory(root, name);
  // Without a side directory the rename is done already: then the main one must stay.
  if (await exists(side)) {
    await rm(mainDirectory(root, name), { recursive: true, force: true });
    await rename(side, mainDirectory(root, name));
    await syncPath(root);
  }
  await rm(marker, { force: true });
  await syncPath(root);
}

export async function removeSideDirectory(root: string, name: string): Promise<void> {
  await finishAdoption(root, name);
  await rm(sideDirectory(root, name), { recursive: true, force: true });
}

export async function removeDirectories(root: string, name: string): Promise<void> {
  await removeSideDirectory(root, name);
  await rm(mainDirectory(root, name), { recursive: true, force: true });
}

/** The names of the stores below `root`, also of one whose adoption is not finished. */
export async function listStores(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  const names = entries.flatMap((entry) => {
    if (entry.isDirectory() && !RESERVED_NAME.test(entry.name)) return [entry.name];
    return entry.name.endsWith(ADOPT) ? [entry.name.slice(0, -ADOPT.length)] : [];
  });
  return [...new Set(names)];
}
