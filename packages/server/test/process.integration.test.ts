import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { freeDevPort } from '../../../scripts/free-ports.ts';
import { temporaryDirectory } from './support/one-member.ts';

/** What `npm run build` made, as in test/e2e: it starts in half the time of the sources. */
const MAIN = resolve(import.meta.dirname, '../dist/main.js');
const ROOT = resolve(import.meta.dirname, '../../..');

let running: ChildProcess[] = [];
let directories: { remove(): void }[] = [];
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  for (const directory of directories) directory.remove();
  running = [];
  directories = [];
});

interface Kvd {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly exit: Promise<number | null>;
  until(text: string): Promise<void>;
}

function kvd(...args: string[]): Kvd {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const exit = once(child, 'close').then(([code]) => code as number | null);
  return {
    child,
    exit,
    output: () => output,
    async until(text) {
      while (!output.includes(text)) {
        if (child.exitCode !== null) throw new TypeError(`kvd exited early:\n${output}`);
        await Promise.race([once(child.stdout ?? child, 'data'), exit]);
      }
    },
  };
}

function temporary(): string {
  const directory = temporaryDirectory();
  directories.push(directory);
  return directory.path;
}

it('kvd dev says where it listens and what to try, serves, keeps its data, and ends with 0 on SIGTERM', async () => {
  const directory = temporary();
  const port = await freeDevPort(1);
  const args = ['dev', '--members', '1', '--data-dir', directory, '--client-port', String(port)];
  const first = kvd(...args);
  await first.until('Ctrl-C');
  expect(first.output()).toContain(`http://127.0.0.1:${port}`);
  expect(first.output()).toMatch(/npx kvctl.* put greeting hello/);
  const url = `http://127.0.0.1:${port}/v1/kv/keys/greeting`;
  const headers = { 'content-type': 'text/plain' };
  expect((await fetch(url, { method: 'PUT', body: 'hello', headers })).status).toBe(200);
  first.child.kill('SIGTERM');
  expect(await first.exit).toBe(0);
  const second = kvd(...args);
  await second.until('Ctrl-C');
  expect(await (await fetch(url)).json()).toMatchObject({ value: 'hello' });

  const other = kvd('dev', '--members', '1', '--data-dir', directory, '--client-port', '65000');
  expect(await other.exit).toBe(3);
  expect(other.output()).toMatch(/^kvd: the data directory cannot be used · .* \(KV_DATA_DIR\)$/m);
  expect(other.output()).not.toContain('    at ');
  second.child.kill('SIGINT');
  expect(await second.exit).toBe(0);
});

it('kvd runs one member from a file and stops on SIGTERM', async () => {
  const directory = temporary();
  const port = await freeDevPort(1);
  const file = join(directory, 'kvd.yaml');
  writeFileSync(
    file,
    `name: solo
dataDir: ${join(directory, 'data')}
listenClient: 127.0.0.1:${port}
listenPeer: 127.0.0.1:${port + 1}
logFormat: pretty
`,
  );
  const one = kvd('--config', file, '--shards', '2');
  while (!one.output().includes('member serves')) {
    if (one.child.exitCode !== null) throw new TypeError(one.output());
    await Promise.race([once(one.child.stderr ?? one.child, 'data'), one.exit]);
  }
  expect(await (await fetch(`http://127.0.0.1:${port}/livez`)).text()).toBe('ok\n');
  one.child.kill('SIGTERM');
  expect(await one.exit).toBe(0);
});

it.each([
  [
    ['config', 'validate', '--shards', 'x'],
    2,
    /shards must be of type integer, found "x" \(flag --shards\)/,
  ],
  [['config', 'print', '--shards', '7'], 0, /^shards: 7 +# flag --shards$/m],
  [['--shards', '7', 'config', 'print'], 0, /^shards: 7 +# flag --shards$/m],
  [['--shards', '7', 'config', '--shards', '6', 'print'], 0, /^shards: 6 +# flag --shards$/m],
  [['-c', 'absent.yaml', 'config', 'validate'], 2, /cannot read absent\.yaml/],
  [['--shards', '7', 'dev'], 2, /--shards stands before dev/],
  [['config', 'schema'], 0, /"title": "kvd configuration"/],
  [['version'], 0, /^\d+\.\d+\.\d+$/m],
  [['--shard', '4'], 2, /unknown option '--shard'[\s\S]*--shards/],
  [['dev', '--members', 'many'], 2, /expected a whole number from 1 to 9/],
  [['dev', '--log', 'kafka'], 2, /needs --brokers/],
  [['--config', 'absent.yaml'], 2, /cannot read absent\.yaml/],
] as const)('kvd %j exits with %i', async (args, code, text) => {
  const run = kvd(...args);
  expect([await run.exit, run.output()]).toEqual([code, expect.stringMatching(text)]);
});
