import { spawn } from 'node:child_process';
import { run } from '../../scripts/kafka/jars.ts';
import type { Found } from './found.ts';
import { goProgram } from './go-programs.ts';

export interface Finished {
  readonly code: number | null;
  /** stdout, then stderr. */
  readonly output: string;
}

const MS_MAX = 20_000;

/** The one on the PATH, as Debian's package etcd-client has it, or else etcd's own, built by Go. */
export async function findEtcdctl(): Promise<Found> {
  const installed = (await run('etcdctl', ['version'])).ok;
  return installed ? { kind: 'found', path: 'etcdctl' } : goProgram('etcdctl');
}

/** Runs it against these endpoints to its end; a command that takes too long is killed, and its code is null. */
export function etcdctl(
  path: string,
  endpoints: string,
  { args, input = '' }: { readonly args: readonly string[]; readonly input?: string },
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, ['--endpoints', endpoints, ...args], {
      timeout: MS_MAX,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output: stdout + stderr }));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}
