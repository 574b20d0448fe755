import { link, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KvError } from '@kvorum/base';
import { type ImageFile, type ImageLayout, isLog, isTable, manifestOf } from './image-layout.ts';
import { isErrno } from './synced-files.ts';

/** LevelDB finishes a merge a few times a second at most; each try takes a few milliseconds. */
const TRIES = 20;

/** Runs a step while nothing is written to the database; its background merges go on. */
export type Still = (step: () => Promise<void>) => Promise<void>;

/** What LevelDB itself would find at this moment: it names its files in a manifest that only grows. */
interface Version {
  readonly current: string;
  readonly manifest: ImageFile;
}

interface Frozen {
  readonly version: Version;
  readonly tables: readonly string[];
  readonly logs: readonly ImageFile[];
}

/**
 * Gives the files of an open LevelDB a second name in `target`, such that they stay what they are at one moment: a database that opens
 * there holds what was written before, and nothing later.
 *
 * LevelDB never changes a table file, only appends to manifest and write-ahead log, and deletes a file only once its manifest says that it
 * is not needed. So while nothing is written, and as long as the manifest has not grown meanwhile, every file that the manifest names was
 * there to be linked. Of what grows, the length at that moment counts. Tables that a merge is writing come along for nothing: the manifest
 * does not name them.
 */
export async function linkFiles(
  directory: string,
  target: string,
  still: Still,
): Promise<ImageLayout> {
  await mkdir(target, { recursive: true });
  const linked = new Set<string>();
  const addLinks = (names: readonly string[]): Promise<void> =>
    linkAll(names, { directory, target, linked });
  // Nearly all of them, so that writes wait only for what a merge brings meanwhile.
  await addLinks((await readdir(directory)).filter(isTable));
  let frozen: Frozen | undefined;
  await still(async () => {
    frozen = await freeze(directory, addLinks);
  });
  if (frozen === undefined) {
    throw new KvError('KV_UNAVAILABLE', 'the files of the store change too fast to be copied');
  }
  const { version, tables, logs } = frozen;
  const wanted = new Set(tables);
  for (const name of linked) {
    if (isTable(name) && !wanted.has(name)) await rm(join(target, name), { force: true });
  }
  const files: ImageFile[] = [];
  for (const name of tables) {
    if (linked.has(name)) files.push({ name, bytes: (await stat(join(target, name))).size });
  }
  files.push(...logs, version.manifest);
  return { current: version.current, files: files.filter(({ bytes }) => bytes > 0) };
}

/** Undefined when merges ended during every try. */
async function freeze(
  directory: string,
  addLinks: (names: readonly string[]) => Promise<void>,
): Promise<Frozen | undefined> {
  for (let i = 0; i < TRIES; i += 1) {
    const version = await versionOf(directory);
    const names = await readdir(directory);
    const logNames = names.filter(isLog);
    const tables = names.filter(isTable);
    await addLinks([...tables, ...logNames, version.manifest.name]);
    const logs: ImageFile[] = [];
    for (const name of logNames) {
      const bytes = await sizeOf(join(directory, name));
      if (bytes !== undefined) logs.push({ name, bytes });
    }
    const after = await versionOf(directory);
    const isSame = after.current === version.current;
    if (isSame && after.manifest.bytes === version.manifest.bytes) return { version, tables, logs };
  }
  return undefined;
}

async function versionOf(directory: string): Promise<Version> {
  const current = await readFile(join(directory, 'CURRENT'), 'utf8');
  const name = manifestOf(current);
  const { size } = await stat(join(directory, name));
  return { current, manifest: { name, bytes: size } };
}

/** Undefined for a file that is not there any more. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

interface Links {
  readonly directory: string;
  readonly target: string;
  /** Grows. */
  readonly linked: Set<string>;
}

/** What was deleted since it was listed is left out. */
async function linkAll(
  names: readonly string[],
  { directory, target, linked }: Links,
): Promise<void> {
  for (const name of names) {
    if (linked.has(name)) continue;
    try {
      await link(join(directory, name), join(target, name));
      linked.add(name);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }
}
