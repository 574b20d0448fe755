import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDirectory } from '../cache-directory.ts';

const POM = fileURLToPath(new URL('./pom.xml', import.meta.url));

/**
 * The folder with Kafka's jars, fetched once through Maven and kept in the user's cache directory, outside the work tree.
 * Throws when Java or Maven is missing or the download fails; the message says which.
 */
export async function kafkaJars(): Promise<string> {
  if (!(await succeeds('java', ['-version']))) throw new Error('no java on the PATH');
  const version = /<kafka.version>([^<]+)</.exec(await readFile(POM, 'utf8'))?.[1];
  if (version === undefined) throw new Error(`no kafka.version in ${POM}`);
  const cache = cacheDirectory();
  const jars = join(cache, `kafka-${version}`);
  if (existsSync(jars)) return jars;
  if (!(await succeeds('mvn', ['-version']))) throw new Error('no mvn on the PATH');
  // Under another name first: an interrupted download must not look complete, and two may run at once.
  const unfinished = join(cache, `kafka-${version}.${process.pid}`);
  await mkdir(unfinished, { recursive: true });
  const goal = 'dependency:copy-dependencies';
  const scope = '-DincludeScope=runtime';
  const args = ['-q', '-B', '-f', POM, goal, scope, `-DoutputDirectory=${unfinished}`];
  const fetched = await run('mvn', args);
  if (!fetched.ok || (await readdir(unfinished)).length === 0) {
    await rm(unfinished, { recursive: true, force: true });
    throw new Error(`mvn ${goal} failed:\n${fetched.output.trim()}`);
  }
  await rename(unfinished, jars).catch(async (error: unknown) => {
    await rm(unfinished, { recursive: true, force: true });
    if (!existsSync(jars)) throw error;
  });
  return jars;
}

interface Finished {
  readonly ok: boolean;
  readonly output: string;
}

/** Runs a command to its end; never rejects, a missing command counts as failed. */
export function run(command: string, args: readonly string[]): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', (error) => resolve({ ok: false, output: error.message }));
    child.once('close', (code) => resolve({ ok: code === 0, output }));
  });
}

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return (await run(command, args)).ok;
}
