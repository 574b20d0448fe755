import type { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startDevCluster } from '../../server/test/support/dev-cluster.ts';
import { kvctl, type Ran } from './support/run-kvctl.ts';

let cluster: DevCluster;
let all: string;

beforeAll(async () => {
  const started = await startDevCluster(2);
  cluster = started.cluster;
  all = cluster.addresses.join(',');
});
afterAll(async () => {
  await cluster.stop();
});

const on = (...args: readonly string[]): Promise<Ran> => kvctl(['--endpoints', all, ...args]);

it('shard status and status wait until all is well, and say what for', async () => {
  expect(await on('shard', 'status', '--wait')).toMatchObject({
    code: 0,
    out: 'all 2 shards are where they should be\n',
  });
  expect(await on('status', '--wait')).toMatchObject({ code: 0 });
  await on('dev', 'kill', 'm2');
  // Members that asked one that is away about its moves once ended with an unhandled rejection.
  for (let i = 0; i < 3; i += 1) expect((await on('shard', 'status')).code).toBe(0);
  const late = await on('--timeout', '1s', 'status', '--wait');
  expect(late.err).toContain('waiting: m2 is down\n');
  expect(late.code).toBe(5);
  const waited = on('--timeout', '30s', 'status', '--wait');
  await on('dev', 'start', 'm2');
  expect((await waited).code).toBe(0);
});
