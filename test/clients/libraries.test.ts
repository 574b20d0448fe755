import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type System, startKvd } from '../differential/systems.ts';
import { Command, KVCTL, Program } from '../e2e/command.ts';
import { orSkip } from './found.ts';
import { goProgram } from './go-programs.ts';
import { jetcdClassPath } from './jetcd.ts';
import { useEtcd3 } from './npm-etcd3.ts';
import { pythonWithEtcd3 } from './python-environment.ts';

const MEMBERS = 3;
const PORT_STEP = 10;
const MS_MAX = 150_000;
/** Every program watches and writes below it while its leader goes away. */
const FAILOVER = '{failover}/killed';

/** A program at work. */
interface Work {
  /** Every part of it that needs all members is done, or it failed. */
  readonly ready: Promise<unknown>;
  /** "OK", or what went wrong. */
  readonly end: Promise<string>;
}

type Start = (endpoints: readonly string[]) => Work;

const go = orSkip('clientv3 (Go)', await goProgram('clientv3'));
const python = orSkip('python-etcd3', await pythonWithEtcd3());
const java = orSkip('jetcd', await jetcdClassPath());

/** Each with everything it does: put, get, txn, leases, locks, elections, and a watch over a failover. */
const LIBRARIES: readonly (readonly [name: string, start: Start | undefined])[] = [
  ['clientv3 and its concurrency package', go === undefined ? undefined : program(go, [])],
  ['python-etcd3', python === undefined ? undefined : program(python, [script()])],
  ['jetcd', java === undefined ? undefined : program('java', ['-cp', java, 'Main'])],
  ['etcd3 of npm', inThisProcess],
];

function script(): string {
  return join(import.meta.dirname, 'python/main.py');
}

/** It prints KILL when a member is to be taken away, and OK at its end. */
function program(path: string, args: readonly string[]): Start {
  return (endpoints) => {
    const running = new Program(path, [...args, endpoints.join(',')], {
      // The generated code of python-etcd3 is older than what newer runtimes take.
      environment: { PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION: 'python' },
    });
    const end = running.end(MS_MAX).then(({ code, output }) => {
      // The libraries log what they send again.
      const isOk = code === 0 && /^OK$/m.test(output) && !output.includes('too_many_pings');
      return isOk ? 'OK' : `ended with ${code}:\n${output}`;
    });
    return { ready: running.until('KILL', MS_MAX).catch(() => undefined), end };
  };
}

function inThisProcess(endpoints: readonly string[]): Work {
  let onReady = (): void => undefined;
  const isReady = new Promise<void>((resolve) => {
    onReady = resolve;
  });
  const end = useEtcd3(endpoints, onReady).then(
    () => 'OK',
    (error: unknown) => `failed: ${error instanceof Error ? error.stack : String(error)}`,
  );
  return { ready: Promise.race([isReady, end]), end };
}

async function kvctl(...args: readonly string[]): Promise<string> {
  const { code, output } = await new Command(KVCTL, args).end();
  expect(code, output).toBe(0);
  return output;
}

/** They share a cluster and one failover: each works on keys of its own. */
describe.each([1, 4])('client libraries of etcd on three members and %i shards', (shards) => {
  let kvd: System | undefined;
  const works = new Map<string, Work>();

  beforeAll(async () => {
    kvd = await startKvd(shards, MEMBERS);
    const [host = '', port = '0'] = kvd.endpoint.split(':');
    const at = (member: number): string => `${host}:${Number(port) + PORT_STEP * (member - 1)}`;
    const where = await kvctl('--endpoints', at(1), 'shard', 'where', FAILOVER, '-w', 'json');
    const leader = Number(/"leader":\s*"m(\d)"/.exec(where)?.[1]);
    const others = [1, 2, 3].filter((member) => member !== leader);
    // Those that talk to one member talk to the one that goes away.
    const endpoints = [leader, ...others].map(at);
    for (const [name, start] of LIBRARIES) {
      const work = start?.(endpoints);
      if (work !== undefined) works.set(name, work);
    }
    await Promise.all([...works.values()].map(async ({ ready }) => ready));
    await kvctl('--endpoints', endpoints.join(','), 'dev', 'kill', String(leader));
    await kvctl('--endpoints', endpoints.slice(1).join(','), 'put', FAILOVER, 'yes');
  });
  afterAll(async () => {
    await Promise.all([...works.values()].map(async ({ end }) => end));
    await kvd?.stop();
  });

  describe.each(LIBRARIES)('%s', (name, start) => {
    it.skipIf(start === undefined)(
      'does what its users do, and its watch misses nothing',
      async () => {
        expect(await works.get(name)?.end).toBe('OK');
      },
    );
  });
});
