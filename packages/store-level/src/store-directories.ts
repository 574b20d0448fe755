import { access, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SidePlace } from './level-side-image.ts';
import { syncPath, syncWriteAheadLogs } from './synced-files.ts';

const SIDE = '.side';
const ADOPT = '.adopt';
const RECEIVED = '.received';
const IMAGES = '.images';

/** What must not be a store's name: the places beside it. */
export const RESERVED_NAME: RegExp = /\.(?:side|adopt|received|images)$/;

export function mainDirectory(root: string, name: string): string {
  return join(root, name);
}

export function sideDirectory(root: string, name: string): string {
  return join(root, `${name}${SIDE}`);
}

/** Where the side store of a name receives an image. */
export function sidePlace(root: string, name: string): SidePlace {
  return { root, side: sideDirectory(root, name), record: join(root, `${name}${RECEIVED}`) };
}

/** Below it are the images of a store, one directory each. */
export function imagesDirectory(storeDirectory: string): string {
  return `${storeDirectory}${IMAGES}`;
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
  await removeRecord(root, name);
  await rm(marker, { force: true });
  await syncPath(root);
}

export async function removeSideDirectory(root: string, name: string): Promise<void> {
  await finishAdoption(root, name);
  await removeRecord(root, name);
  await rm(sideDirectory(root, name), { recursive: true, force: true });
}

/** It is gone for good before anything takes the place of the files that it tells of. */
async function removeRecord(root: string, name: string): Promise<void> {
  const { record } = sidePlace(root, name);
  if (!(await exists(record))) return;
  await rm(record, { force: true });
  await syncPath(root);
}

export async function removeDirectories(root: string, name: string): Promise<void> {
  await removeSideDirectory(root, name);
  const main = mainDirectory(root, name);
  await rm(imagesDirectory(main), { recursive: true, force: true });
  await rm(main, { recursive: true, force: true });
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
