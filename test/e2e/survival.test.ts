import { setTimeout as pause } from 'node:timers/promises';
import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { ProcessCluster } from './process-cluster.ts';
import { sawEverything, verifyEqualReplicas, verifyHistory } from './verify.ts';
import { Workload } from './workload.ts';

/**
 * Real processes on real brokers, killed and stopped under load (issue: it must survive). One cluster for all scenarios: what one
 * leaves behind is the next one's start.
 */
const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED survival tests, no Kafka: ${kafka.reasons.join('; ')}\n`);
}

describe.skipIf(kafka.kind === 'unavailable')('a cluster on Kafka', () => {
  let cluster: ProcessCluster;
  let client: KvorumClient;
  let watchClient: KvorumClient;
  let scenario = 0;

  beforeAll(async () => {
    cluster = await ProcessCluster.start({
      bootstrap: (kafka as AvailableKafka).bootstrap,
      topicPrefix: `e2e-${process.pid}-`,
      shards: 4,
    });
    const endpoints = cluster.endpoints;
    client = await connect({ endpoints, timeoutMs: 30_000 });
    watchClient = await connect({ endpoints, timeoutMs: 30_000 });
  });

  afterAll(async () => {
    await client?.close();
    await watchClient?.close();
    await cluster?.stop();
    if (kafka.kind === 'available') await kafka.stop();
  });

  /** Runs load around a fault, then checks everything the history says. */
  async function survive(fault: (workload: Workload) => Promise<void>): Promise<Workload> {
    scenario += 1;
    const workload = new Workload({ client, watchClient, prefix: `s${scenario}/` });
    await workload.start();
    await pause(1000);
    await fault(workload);
    const before = workload.acknowledgedCount;
    await until(() => workload.acknowledgedCount > before + 200, 'writes to go on');
    await workload.stop(sawEverything(workload), 30_000);
    await verifyHistory(workload, client);
    await verifyEqualReplicas(client, cluster.endpoints);
    return workload;
  }

  async function leaderOf(shard: string): Promise<number> {
    const members = await client.members();
    const { leader } = (await client.shards()).find((info) => info.shard === shard) ?? {};
    const url = members.find(({ id }) => id === leader)?.clientUrls[0];
    const index = cluster.endpoints.indexOf(url ?? '');
    expect(index, `shard ${shard} has a leader`).toBeGreaterThanOrEqual(0);
    return index;
  }

  it('keeps every acknowledged write when a leader member is killed with -9', async () => {
    const victim = await leaderOf('0');
    await survive(async () => {
      await cluster.kill(victim);
      await pause(4000);
      await cluster.restart(victim);
    });
  });

  it('keeps every acknowledged write when a leader is stopped for 10 s and comes back', async () => {
    const victim = await leaderOf('1');
    await survive(async () => {
      cluster.pause(victim);
      await pause(10_000);
      cluster.resume(victim);
    });
  });

  it('keeps every acknowledged write when all members are killed and restarted', async () => {
    await survive(async () => {
      await Promise.all([0, 1, 2].map((i) => cluster.kill(i)));
      await Promise.all([0, 1, 2].map((i) => cluster.restart(i)));
    });
  });

  it.skipIf(kafka.kind === 'available' && kafka.faults === undefined)(
    'keeps every acknowledged write when a broker that leads partitions is killed with -9',
    async () => {
      const { faults } = kafka as AvailableKafka;
      await survive(async () => {
        await faults?.kill(1);
        await pause(6000);
        await faults?.restart(1);
      });
    },
  );

  it.skipIf(kafka.kind === 'available' && kafka.faults === undefined)(
    'serves linearizable reads while Kafka is unreachable for 20 s, and loses nothing',
    async () => {
      const { faults } = kafka as AvailableKafka;
      let fromMs = 0;
      let toMs = 0;
      const workload = await survive(async () => {
        await Promise.all([1, 2, 3].map((broker) => faults?.pause(broker)));
        fromMs = Date.now() + 3000;
        await pause(20_000);
        toMs = Date.now();
        await Promise.all([1, 2, 3].map((broker) => faults?.resume(broker)));
      });
      const during = workload.reads.filter((read) => read.startMs >= fromMs && read.endMs <= toMs);
      expect(during.length).toBeGreaterThan(100);
      expect(during.filter((read) => !read.ok)).toEqual([]);
    },
  );
});

async function until(condition: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
  const untilMs = Date.now() + timeoutMs;
  while (!condition()) {
    expect(Date.now(), `waiting for ${what}`).toBeLessThan(untilMs);
    await pause(50);
  }
}
