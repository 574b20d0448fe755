import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../scripts/cache-directory.ts';
import { run } from '../../scripts/kafka/jars.ts';
import type { Found } from './found.ts';

const SOURCE = join(import.meta.dirname, 'java');
const POM = join(SOURCE, 'pom.xml');
const MAIN = join(SOURCE, 'Main.java');

/** The class path of `java/Main.java` with jetcd, fetched once through Maven, compiled once, and kept in the user's cache. */
export async function jetcdClassPath(): Promise<Found> {
  const hash = createHash('sha256');
  for (const file of [POM, MAIN]) hash.update(readFileSync(file));
  const directory = join(cacheDirectory(), `jetcd-${hash.digest('hex').slice(0, 12)}`);
  const found: Found = { kind: 'found', path: `${join(directory, '*')}:${directory}` };
  if (existsSync(directory)) return found;
  // Under another name first: an interrupted download must not look complete, and two may run at once.
  const unfinished = `${directory}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  process.stderr.write('fetching jetcd with Maven, once\n');
  const copy = ['dependency:copy-dependencies', '-DincludeScope=runtime'];
  const fetched = await run('mvn', [
    '-q',
    '-B',
    '-f',
    POM,
    ...copy,
    `-DoutputDirectory=${unfinished}`,
  ]);
  const compiled = fetched.ok
    ? await run('javac', ['-cp', join(unfinished, '*'), '-d', unfinished, MAIN])
    : fetched;
  if (compiled.ok && !existsSync(directory)) renameSync(unfinished, directory);
  rmSync(unfinished, { recursive: true, force: true });
  if (compiled.ok) return found;
  return { kind: 'missing', reason: `Java 11 and Maven: ${compiled.output.trim().slice(-500)}` };
}
