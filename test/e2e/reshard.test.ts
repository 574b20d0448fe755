import { connect, type KvorumClient } from '@kvorum/client';
import { DevCluster } from '@kvorum/server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../../packages/server/test/support/one-member.ts';
import { freeDevPort } from '../../scripts/free-ports.ts';
import { sawEverything, storeViolations, verifyEqualReplicas, writeViolations } from './verify.ts';
import { type SeenEvent, Workload } from './workload.ts';

/** Shards are split and merged on a running cluster, under load, with watchers. */
describe('the number of shards changes while clients go on', () => {
  const directory = temporaryDirectory();
  let cluster: DevCluster;
  let client: KvorumClient;
  let watchClient: KvorumClient;
  let endpoints: string[];

  beforeAll(async () => {
    const clientPort = await freeDevPort(3);
    cluster = new DevCluster({
      members: 3,
      shards: 4,
      dataDir: directory.path,
      clientPort,
      ephemeral: false,
      log: 'local',
      brokers: [],
    });
    await cluster.start(new AbortController().signal);
    endpoints = cluster.members.map((member) => `http://${member.clientAddress}`);
    client = await connect({ endpoints, timeoutMs: 30_000 });
    watchClient = await connect({ endpoints, timeoutMs: 30_000 });
  }, 60_000);

  afterAll(async () => {
    await client?.close();
    await watchClient?.close();
    await cluster?.stop();
    directory.remove();
  });

  it('4 -> 8 -> 4', { timeout: 180_000 }, async () => {
    const workload = new Workload({ client, watchClient, prefix: 'r/' });
    await workload.start(8, 2, 2);
    await until(() => workload.acknowledgedCount > 200, 'the load');
    for (const shards of [8, 4]) {
      const fromMs = Date.now();
      expect(await client.reshard({ action: 'scale', shards })).not.toEqual([]);
      await until(async () => (await client.moves()).length === 0, `${shards} shards`);
      const { acknowledgedCount } = workload;
      await until(() => workload.acknowledgedCount > acknowledgedCount + 200, 'writes to go on');
      const gaps = [...workload.longestGapsMs(fromMs, Date.now())];
      process.stderr.write(`${shards} shards, longest gaps in ms: ${JSON.stringify(gaps)}\n`);
      const holding = (await client.shards()).filter(({ slots }) => slots.length > 0);
      expect(holding).toHaveLength(shards);
    }
    await workload.stop(sawEverything(workload), 60_000);
    expect(workload.staleReads).toEqual([]);
    expect(orderViolations(workload.events)).toEqual([]);
    expect(writeViolations(workload)).toEqual([]);
    expect(await storeViolations(workload, client)).toEqual([]);
    await verifyEqualReplicas(client, endpoints);
  });
});

/** Revisions of a key rise whatever shard it is in; those of a shard are of several timelines after a merge. */
function orderViolations(events: readonly SeenEvent[]): readonly string[] {
  const last = new Map<string, number>();
  return events.flatMap(({ key, revision, value }) => {
    const before = last.get(key) ?? 0;
    last.set(key, revision);
    return revision > before ? [] : [`${key} ${value}: revision ${revision} after ${before}`];
  });
}

async function until(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const untilMs = Date.now() + 60_000;
  while (!(await done())) {
    if (Date.now() > untilMs) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
