import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KvError } from '@kvorum/base';
import { type LocalLogs, openLocalLogs } from '@kvorum/log-local';
import type { SharedLogs } from '@kvorum/ports';
import { createLogger, loadConfig, type Member, startMember } from '@kvorum/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freeDevPort } from '../../../scripts/free-ports.ts';
import { kvctl, type Ran } from './support/run-kvctl.ts';

/** A shared log that does not answer until told so: what a member waits for that starts while Kafka is down. */
let answers = false;
const silent = (logs: SharedLogs): SharedLogs => ({
  open: (spec, options) =>
    answers ? logs.open(spec, options) : Promise.reject(new KvError('KV_LOG_UNAVAILABLE')),
  verify: () => logs.verify(),
  close: () => logs.close(),
});

const directory = mkdtempSync(join(tmpdir(), 'kvorum-starting-'));
const stop = new AbortController();
let url: string;
let started: Promise<Member | undefined>;
let local: LocalLogs;

beforeAll(async () => {
  const base = await freeDevPort(1);
  url = `http://127.0.0.1:${base}`;
  const { config } = loadConfig({
    environment: {},
    flags: {},
    preset: { logLevel: 'silent' },
    fixed: {
      dataDir: directory,
      listenClient: `127.0.0.1:${base}`,
      listenPeer: `127.0.0.1:${base + 1}`,
    },
  });
  local = await openLocalLogs({
    directory: join(directory, 'log'),
    limits: config.limits,
    topicPrefix: 'starting-',
  });
  started = startMember({
    config,
    version: '0.0.0-test',
    logger: createLogger(config),
    logs: silent(local.forMember()),
    logWhere: 'kafka.example:9092',
    signal: stop.signal,
  }).catch(() => undefined);
});
afterAll(async () => {
  stop.abort();
  await (await started)?.stop();
  await local.close();
  rmSync(directory, { recursive: true, force: true });
});

const on = (...args: readonly string[]): Promise<Ran> => kvctl(['--endpoints', url, ...args]);
const WHY = 'member m1 is starting (opening its log at kafka.example:9092)';

it('a member that starts is not called down, and says what it waits for', async () => {
  const lives = async (): Promise<boolean> => (await fetch(`${url}/livez`)).ok;
  await expect.poll(() => lives().catch(() => false), { timeout: 10_000 }).toBe(true);
  const status = await on('status');
  expect(status).toMatchObject({ code: 5, err: '' });
  expect(status.out).toContain(`starting  ${url}: ${WHY}\n`);
  expect(await on('endpoint', 'health')).toEqual({
    code: 5,
    out: '',
    err: `${url} is starting: ${WHY}\n`,
  });
  const asked = await on('endpoint', 'status', '-w', 'json');
  expect(JSON.parse(asked.out)).toMatchObject([{ endpoint: url, state: 'starting' }]);
  const get = await on('--timeout', '200ms', 'get', 'a');
  expect(get.code).toBe(2);
  expect(get.err).toContain(WHY);
  expect(get.err).toContain('Next:  a member is starting: wait, then try again\n');
});

it('a command that was given the time waits until the member serves', async () => {
  const put = on('--timeout', '30s', 'put', 'a', '1');
  // Nobody may serve yet when it begins, so it has seen the member starting.
  expect((await on('status')).out).toContain('starting  ');
  answers = true;
  expect(await put).toEqual({ code: 0, out: 'OK\n', err: '' });
});
