import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isPlain } from '@kvorum/base';
import { InputError, IoError } from './exit.ts';

type Revisions = Readonly<Record<string, number>>;

/** What a mirror is of and where it goes: its state means nothing to another one. */
interface Names {
  readonly prefix: string;
  readonly destPrefix: string;
}

const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** Where the mirror goes on; undefined when there is no such file yet. Errors: IoError; InputError when it is of another mirror. */
export function readMirrorState(
  path: string,
  { prefix, destPrefix }: Names,
): Revisions | undefined {
  let state: unknown;
  try {
    state = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw new IoError(`cannot read ${path}: ${(error as Error).message}`);
  }
  const resumeAt = isPlain(state) ? state['resumeAt'] : undefined;
  if (!isPlain(state) || !isPlain(resumeAt)) throw new IoError(`${path} is no state of a mirror`);
  if (state['prefix'] !== prefix || state['destPrefix'] !== destPrefix) {
    const of = `${JSON.stringify(state['prefix'])} to ${JSON.stringify(state['destPrefix'])}`;
    throw new InputError(`${path} is of a mirror of ${of}`, 'another --state for another mirror');
  }
  return Object.fromEntries(
    Object.entries(resumeAt).map(([place, revision]) => {
      if (Number.isSafeInteger(revision)) return [place, revision as number];
      throw new IoError(`${path} is no state of a mirror`);
    }),
  );
}

/** Replaces the file as a whole. Errors: IoError. */
export function writeMirrorState(
  path: string,
  { prefix, destPrefix }: Names,
  resumeAt: Revisions,
): void {
  const aside = `${path}.${process.pid}.part`;
  try {
    writeFileSync(aside, `${JSON.stringify({ prefix, destPrefix, resumeAt })}\n`, { flush: true });
    renameSync(aside, path);
  } catch (error) {
    throw new IoError(`cannot write ${path}: ${(error as Error).message}`);
  }
}
