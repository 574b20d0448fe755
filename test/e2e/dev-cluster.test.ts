import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freeDevPort } from '../../scripts/free-ports.ts';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { Command, KVCTL, KVD } from './command.ts';
import { ProcessCluster } from './process-cluster.ts';

/** What a stranger does, through the built command lines alone. */
const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED three kvd processes, no Kafka: ${kafka.reasons.join('; ')}\n`);
}
afterAll(async () => {
  if (kafka.kind === 'available') await kafka.stop();
});

let running: Command[] = [];
let directories: string[] = [];
afterEach(async () => {
  await Promise.all(running.map((command) => command.kill()));
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  running = [];
  directories = [];
});

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'kvorum-stranger-'));
  directories.push(directory);
  return directory;
}

/** What `kvctl status` exits with. */
const UNHEALTHY = 5;

/** `kvd dev`, up to the point where it says what to try. */
async function dev(port: number, ...flags: readonly string[]): Promise<Command> {
  process.stderr.write(`kvd dev at ${port}\n`);
  const command = new Command(KVD, ['dev', '--client-port', String(port), ...flags]);
  running.push(command);
  await command.until('Ctrl-C stops.');
  return command;
}

/** Runs kvctl against these members and answers what it printed; it must end with 0. */
async function kvctl(endpoints: string, ...args: readonly string[]): Promise<string> {
  const { code, output } = await new Command(KVCTL, ['--endpoints', endpoints, ...args]).end();
  expect(code, `kvctl ${args.join(' ')}: ${output}`).toBe(0);
  return output;
}

describe('kvd dev', () => {
  it('starts three members, tells what to try, does it, and removes its data at the end', async () => {
    const port = await freeDevPort(3);
    const cluster = await dev(port, '--ephemeral');
    const suggested = [...cluster.output.matchAll(/^ {2}npx kvctl ([^#\n]*)/gm)].map(
      ([, line = '']) => line.trim(),
    );
    expect(suggested).toEqual([
      'put greeting hello',
      'get greeting',
      'dev kill 2',
      'dev start 2',
      'status',
    ]);
    const [, endpoints = ''] = /^ {2}export KVCTL_ENDPOINTS=(\S+)/m.exec(cluster.output) ?? [];
    const answers: string[] = [];
    for (const line of suggested) {
      const environment = { KVCTL_ENDPOINTS: endpoints };
      const end = await new Command(KVCTL, line.split(' '), { environment }).end();
      // A busy machine may still elect when `dev start` has waited long enough; `status` says so.
      const isElecting = line === 'status' && end.output.includes('no leader');
      expect(end.code, end.output).toBe(isElecting ? UNHEALTHY : 0);
      answers.push(end.output);
    }
    await kvctl(endpoints, '--timeout', '60s', 'status', '--wait');
    expect(answers[0]).toMatch(/^OK/);
    expect(answers[1]).toBe('greeting\nhello\n');
    expect(answers.at(-1)).toMatch(/m1[\s\S]*m2[\s\S]*m3/);
    const [, directory = ''] = /^data in (\S+) \(removed at exit\)/m.exec(cluster.output) ?? [];
    expect((await cluster.kill('SIGTERM')).code).toBe(0);
    expect(() => rmSync(directory, { recursive: true })).toThrow(/ENOENT/);
  });

  it('keeps its data between runs with --data-dir, after a clean end and after kill -9', async () => {
    const directory = temporary();
    const port = await freeDevPort(3);
    const at = `127.0.0.1:${port}`;
    const first = await dev(port, '--data-dir', directory);
    await kvctl(at, 'put', 'kept', 'one');
    expect((await first.kill('SIGINT')).code).toBe(0);
    const second = await dev(port, '--data-dir', directory);
    expect(await kvctl(at, 'get', 'kept')).toBe('kept\none\n');
    await kvctl(at, 'put', 'kept', 'two');
    await second.kill('SIGKILL');
    await dev(port, '--data-dir', directory);
    expect(await kvctl(at, 'get', 'kept')).toBe('kept\ntwo\n');
  });
});

describe.skipIf(kafka.kind === 'unavailable')('three kvd processes on Kafka', () => {
  let cluster: ProcessCluster;
  beforeAll(async () => {
    const { bootstrap } = kafka as AvailableKafka;
    cluster = await ProcessCluster.start({ bootstrap, topicPrefix: `stranger-${process.pid}-` });
  });
  afterAll(async () => {
    await cluster?.stop();
  });

  it('go on when one is killed, and take it back', async () => {
    const endpoints = cluster.endpoints.join(',');
    for (const key of ['a', 'b', 'c', 'd']) await kvctl(endpoints, 'put', key, 'before');
    await cluster.kill(1);
    for (const key of ['a', 'b', 'c', 'd']) {
      expect(await kvctl(endpoints, 'get', key)).toBe(`${key}\nbefore\n`);
      await kvctl(endpoints, 'put', key, 'without m2');
    }
    await cluster.restart(1);
    for (const key of ['a', 'b', 'c', 'd']) {
      expect(await kvctl(cluster.endpoints[1] ?? '', 'get', key)).toBe(`${key}\nwithout m2\n`);
    }
    expect(await kvctl(endpoints, 'endpoint', 'health')).toMatch(/healthy/);
  });
});
