import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KvError } from '@kvorum/base';
import type { SharedLogs } from '@kvorum/ports';
import { createLogger, loadConfig, startMember } from '@kvorum/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freeBase } from '../../server/test/support/dev-cluster.ts';
import { kvctl, type Ran } from './support/run-kvctl.ts';

/** A shared log that never answers: what a member waits for that starts while Kafka is down. */
const SILENT: SharedLogs = {
  open: () => Promise.reject(new KvError('KV_LOG_UNAVAILABLE')),
  verify: () => Promise.resolve([]),
  close: () => Promise.resolve(),
};

const directory = mkdtempSync(join(tmpdir(), 'kvorum-starting-'));
const stop = new AbortController();
let url: string;
let started: Promise<unknown>;

beforeAll(async () => {
  const base = await freeBase();
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
  started = startMember({
    config,
    version: '0.0.0-test',
    logger: createLogger(config),
    logs: SILENT,
    logWhere: 'kafka.example:9092',
    signal: stop.signal,
  }).catch((error: unknown) => error);
});
afterAll(async () => {
  const aborted = once(stop.signal, 'abort');
  stop.abort();
  await aborted;
  await started;
  rmSync(directory, { recursive: true, force: true });
});

const on = (...args: readonly string[]): Promise<Ran> => kvctl(['--endpoints', url, ...args]);
const WHY = 'member m1 is starting (opening its log at kafka.example:9092)';

it('a member that starts is not called down, and says what it waits for', async () => {
  const answers = async (): Promise<boolean> => (await fetch(`${url}/livez`)).ok;
  await expect.poll(() => answers().catch(() => false), { timeout: 10_000 }).toBe(true);
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
});
