import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../scripts/cache-directory.ts';
import { run } from '../../scripts/kafka/jars.ts';
import type { Found } from './found.ts';

const SOURCE = join(import.meta.dirname, 'go');
const GO_DIRS = ['', '/usr/local/go/bin/', '/usr/lib/go/bin/'];

/** The programs of `test/clients/go`: etcd and etcdctl from their own modules, and ours on clientv3. */
const PACKAGES = {
  etcd: 'go.etcd.io/etcd/server/v3',
  etcdctl: 'go.etcd.io/etcd/etcdctl/v3',
  clientv3: '.',
} as const;

export type GoProgram = keyof typeof PACKAGES;

/**
 * One of these programs, built by Go on the first use (a minute or two, with what the Go module proxy has) and kept in the user's
 * cache under the hash of its sources. `ETCD36` names another etcd instead of a built one.
 */
export async function goProgram(name: GoProgram): Promise<Found> {
  const named = name === 'etcd' ? process.env['ETCD36'] : undefined;
  if (named !== undefined && named !== '') return { kind: 'found', path: named };
  const directory = join(cacheDirectory(), `go-${sourceHash(name)}`);
  const path = join(directory, name);
  if (existsSync(path)) return { kind: 'found', path };
  const go = await findGo();
  if (go === undefined) return { kind: 'missing', reason: 'no go on the PATH' };
  mkdirSync(directory, { recursive: true });
  // Under another name first: an interrupted build must not look complete, and two may run at once.
  const unfinished = `${path}.${process.pid}`;
  process.stderr.write(`building ${name} with Go, once\n`);
  const built = await run(go, ['-C', SOURCE, 'build', '-o', unfinished, PACKAGES[name]]);
  if (!built.ok) {
    rmSync(unfinished, { force: true });
    return { kind: 'missing', reason: `go build ${PACKAGES[name]}: ${built.output.trim()}` };
  }
  renameSync(unfinished, path);
  return { kind: 'found', path };
}

async function findGo(): Promise<string | undefined> {
  for (const directory of GO_DIRS) {
    if ((await run(`${directory}go`, ['version'])).ok) return `${directory}go`;
  }
  return undefined;
}

/** Only our own program hangs on our own source: etcd takes a minute or two to build. */
function sourceHash(name: GoProgram): string {
  const hash = createHash('sha256');
  const files = ['go.mod', 'go.sum', ...(PACKAGES[name] === '.' ? ['main.go'] : [])];
  for (const file of files) hash.update(readFileSync(join(SOURCE, file)));
  return hash.digest('hex').slice(0, 12);
}
