import { setTimeout as pause } from 'node:timers/promises';
import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../scripts/free-ports.ts';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { KafkaTopics } from './kafka-topics.ts';
import { ProcessCluster } from './process-cluster.ts';
import { sawEverything, verifyEqualReplicas, verifyHistory } from './verify.ts';
import { Workload } from './workload.ts';

/**
 * Members that hold their elections over Kafka and cannot reach each other at all: every peer address of the configuration is one
 * where nobody listens.
 */
const kafka = await ensureKafka({ faults: true });
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED elections over Kafka: ${kafka.reasons.join('; ')}\n`);
}
const withoutFaults = kafka.kind === 'unavailable' || kafka.faults === undefined;
const SHARDS = ['0', '1', 'meta'];

describe.skipIf(kafka.kind === 'unavailable')('elections over Kafka', () => {
  const topicPrefix = `election-${process.pid}-`;
  let cluster: ProcessCluster;
  let client: KvorumClient;
  let watchClient: KvorumClient;
  let topics: KafkaTopics;
  let scenario = 0;

  beforeAll(async () => {
    const { bootstrap, brokers } = kafka as AvailableKafka;
    const [nobody] = await freePorts(1);
    cluster = await ProcessCluster.start({
      ...{ bootstrap, topicPrefix, shards: 2, config: { election: 'kafka' } },
      memberConfig: (self, members) => ({
        members: members.map((member) => ({ ...member, peer: `127.0.0.1:${nobody}` })),
        listenPeer: self.peer,
      }),
    });
    const { endpoints } = cluster;
    client = await connect({ endpoints, timeoutMs: 30_000 });
    watchClient = await connect({ endpoints, timeoutMs: 30_000 });
    topics = await KafkaTopics.connect(brokers);
  });

  afterAll(async () => {
    await client?.close();
    await watchClient?.close();
    await topics?.close();
    await cluster?.stop();
    if (kafka.kind === 'available') await kafka.stop();
  });

  /** Runs load around a fault: linearizable reads and writes must go on after it, and the history must hold. */
  async function survive(fault: () => Promise<void>): Promise<void> {
    scenario += 1;
    const workload = new Workload({ client, watchClient, prefix: `s${scenario}/` });
    await workload.start();
    const more = async (): Promise<void> => {
      const [writes, reads] = [workload.acknowledgedCount, workload.reads.length];
      await expect
        .poll(() => workload.acknowledgedCount > writes + 100, { timeout: 60_000 })
        .toBe(true);
      await expect.poll(() => workload.reads.length > reads + 100, { timeout: 60_000 }).toBe(true);
    };
    await more();
    await fault();
    await more();
    await workload.stop(sawEverything(workload), 60_000);
    await verifyHistory(workload, client);
    await verifyEqualReplicas(client, cluster.endpoints);
  }

  /** `shard leader term` of every shard, as the members see it. */
  async function leaderships(): Promise<readonly string[]> {
    const found = await Promise.all(
      cluster.endpoints.map(async (endpoint) => {
        const answer = await fetch(`${endpoint}/metrics`).catch(() => undefined);
        const text = (await answer?.text()) ?? '';
        return SHARDS.flatMap((shard) => {
          const of = (name: string): string =>
            new RegExp(`^${name}\\{shard="${shard}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? '?';
          const leads = of('etcd_server_is_leader') === '1';
          return leads ? [`${shard} ${endpoint} ${of('kv_raft_term')}`] : [];
        });
      }),
    );
    return found.flat().sort();
  }

  async function leaderOf(shard: string): Promise<number> {
    const url = (await leaderships()).find((text) => text.startsWith(`${shard} `))?.split(' ')[1];
    return cluster.endpoints.indexOf(url ?? '');
  }

  it('elects a leader for every shard, and serves writes and linearizable reads', async () => {
    await expect.poll(async () => (await leaderships()).length, { timeout: 30_000 }).toBe(3);
    await survive(async () => {});
    await client.put('of/all', 'seen');
    for (const endpoint of cluster.endpoints) {
      // Two of the three are no leader of that shard, and ask it over Kafka for the index.
      const answer = await fetch(`${endpoint}/v1/kv/keys/of/all`);
      expect(await answer.json()).toMatchObject({ value: 'seen' });
      const metrics = await (await fetch(`${endpoint}/metrics`)).text();
      expect(metrics).toMatch(/^kv_election_topics_answered 1$/m);
    }
    expect([...(await topics.leaders(topicPrefix)).keys()].sort()).toEqual(
      ['raft-leader', 'raft-log-0', 'raft-log-1', 'raft-log-meta', 'raft-vote'].map(
        (name) => `${topicPrefix}${name}`,
      ),
    );
  });

  it('survives the kill -9 of a leader', async () => {
    const victim = await leaderOf('0');
    await survive(async () => {
      await cluster.kill(victim);
      await expect.poll(() => leaderOf('0'), { timeout: 30_000 }).toBeGreaterThanOrEqual(0);
      await cluster.restart(victim);
    });
  });

  it.skipIf(withoutFaults)(
    'a broker that dies with the election topics on it deposes nobody',
    async () => {
      const { faults } = kafka as AvailableKafka;
      // Shares given back after the restart of a member come first.
      await untilSteady();
      const victim = (await topics.leaderOf(`${topicPrefix}raft-leader`)) ?? 1;
      const before = await leaderships();
      await survive(async () => {
        await faults?.kill(victim);
        await pause(6000);
        expect(await leaderships()).toEqual(before);
        await faults?.restart(victim);
      });
      expect(await leaderships()).toEqual(before);
    },
  );

  it('members change from elections of their own to elections over Kafka one by one', async () => {
    const { bootstrap } = kafka as AvailableKafka;
    const prefix = `${topicPrefix}change-`;
    const changing = await ProcessCluster.start({ bootstrap, topicPrefix: prefix, shards: 2 });
    const own = await connect({ endpoints: changing.endpoints, timeoutMs: 30_000 });
    try {
      changing.configure({ election: 'kafka' });
      for (const i of [0, 1, 2]) {
        await changing.kill(i, 'SIGTERM');
        await changing.restart(i);
        for (const key of ['a/k', 'b/k', 'c/k', 'd/k']) {
          await own.put(key, `${i}`);
          expect((await own.get(key))?.text()).toBe(`${i}`);
        }
      }
      expect([...(await topics.leaders(prefix)).keys()]).toContain(`${prefix}raft-vote`);
    } finally {
      await own.close();
      await changing.stop();
    }
  });

  async function untilSteady(): Promise<void> {
    let last: readonly string[] = [];
    for (let sameCount = 0; sameCount < 8; ) {
      await pause(1000);
      const now = await leaderships();
      sameCount = now.length === 3 && now.join() === last.join() ? sameCount + 1 : 0;
      last = now;
    }
  }
});
