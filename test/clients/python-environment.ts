import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../scripts/cache-directory.ts';
import { run } from '../../scripts/kafka/jars.ts';
import type { Found } from './found.ts';

const REQUIREMENTS = join(import.meta.dirname, 'python/requirements.txt');

/** A Python with the libraries of `requirements.txt`, installed once by pip into the user's cache. */
export async function pythonWithEtcd3(): Promise<Found> {
  const hash = createHash('sha256').update(readFileSync(REQUIREMENTS)).digest('hex').slice(0, 12);
  const directory = join(cacheDirectory(), `python-${hash}`);
  const path = join(directory, 'bin/python');
  if (existsSync(path)) return { kind: 'found', path };
  // Under another name first: an interrupted installation must not look complete, and two may run at once.
  const unfinished = `${directory}.${process.pid}`;
  process.stderr.write('installing python-etcd3 with pip, once\n');
  const python = join(unfinished, 'bin/python');
  const made = await run('python3', ['-m', 'venv', unfinished]);
  const installed = made.ok
    ? await run(python, ['-m', 'pip', 'install', '-q', '-r', REQUIREMENTS])
    : made;
  if (installed.ok && !existsSync(path)) renameSync(unfinished, directory);
  rmSync(unfinished, { recursive: true, force: true });
  if (installed.ok) return { kind: 'found', path };
  return { kind: 'missing', reason: `python3 with pip: ${installed.output.trim().slice(-500)}` };
}
