import { setTimeout as pause } from 'node:timers/promises';
import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { KafkaTopics } from './kafka-topics.ts';
import { ProcessCluster } from './process-cluster.ts';
import { sawEverything, verifyEqualReplicas, verifyHistory } from './verify.ts';
import { IMPATIENT_MS, Workload } from './workload.ts';

/**
 * Real processes on real brokers, killed and stopped under load (issue: it must survive). One cluster for all scenarios: what one
 * leaves behind is the next one's start.
 */
const kafka = await ensureKafka({ faults: true });
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED survival tests, no Kafka: ${kafka.reasons.join('; ')}\n`);
}
const withoutFaults = kafka.kind === 'unavailable' || kafka.faults === undefined;
if (kafka.kind === 'available' && withoutFaults) {
  process.stderr.write(`SKIPPED broker faults: ${kafka.source} cannot be killed from here\n`);
}

/** Room for an answer to arrive on a busy machine, beyond the deadline that was asked for. */
const ANSWER_SLACK_MS = 10_000;

describe.skipIf(kafka.kind === 'unavailable')('a cluster on Kafka', () => {
  const topicPrefix = `e2e-${process.pid}-`;
  let cluster: ProcessCluster;
  let client: KvorumClient;
  let watchClient: KvorumClient;
  let topics: KafkaTopics;
  let scenario = 0;

  beforeAll(async () => {
    const { source, bootstrap, brokers } = kafka as AvailableKafka;
    process.stderr.write(`survival on ${source}: ${bootstrap}, topics ${topicPrefix}…\n`);
    cluster = await ProcessCluster.start({ bootstrap, topicPrefix, shards: 4 });
    const endpoints = cluster.endpoints;
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

  /** Runs load around a fault, then checks everything the history says. */
  async function survive(what: string, fault: () => Promise<void>): Promise<Workload> {
    scenario += 1;
    const workload = new Workload({ client, watchClient, prefix: `s${scenario}/` });
    await workload.start();
    await until(() => workload.acknowledgedCount > 200, 'the load');
    const fromMs = Date.now();
    await fault();
    const { acknowledgedCount } = workload;
    await until(() => workload.acknowledgedCount > acknowledgedCount + 200, 'writes to go on');
    const toMs = Date.now();
    await workload.stop(sawEverything(workload), 60_000);
    report(what, workload, workload.longestGapsMs(fromMs, toMs));
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
    await survive('kill -9 of a leader member', async () => {
      await cluster.kill(victim);
      await pause(4000);
      await cluster.restart(victim);
    });
  });

  it('keeps locks and leases when the leader of their home is killed, and knows when nobody can', async () => {
    const name = `{locks${scenario}}/lock`;
    const ttlSeconds = 60;
    const grantedMs = Date.now();
    const unattended = await client.leases.grant({ ttlSeconds, keepAlive: false });
    const lock = await client.lock(name, { ttlSeconds });
    const waiting = watchClient.lock(name, { ttlSeconds });
    await until(async () => (await client.getAll({ prefix: name })).count === 2, 'a waiter');
    const victim = await leaderOf('0');
    await cluster.kill(victim);
    await client.put(`${name}ed`, String(lock.token), { lease: lock.lease });
    lock.check();
    const left = await client.leases.timeToLive(unattended);
    const elapsedSeconds = Math.ceil((Date.now() - grantedMs) / 1000);
    expect(left?.remainingSeconds).toBeGreaterThanOrEqual(ttlSeconds - elapsedSeconds - 1);
    await cluster.restart(victim);

    await lock.release();
    const next = await waiting;
    expect(next.token).toBeGreaterThan(lock.token);
    await next.release();
    const short = await client.lock(name, { ttlSeconds: 4 });
    for (const i of [0, 1, 2]) cluster.pause(i);
    try {
      await until(() => short.signal.aborted, 'the loss');
      expect(short.signal.reason).toMatchObject({ code: 'KV_LEASE_LOST' });
    } finally {
      for (const i of [0, 1, 2]) cluster.resume(i);
    }
    await client.withLock(name, (again) => expect(again.token).toBeGreaterThan(short.token));
    await unattended.revoke();
  });

  it('keeps every acknowledged write when a leader is stopped for 10 s and comes back', async () => {
    const victim = await leaderOf('1');
    await survive('SIGSTOP of a leader member for 10 s', async () => {
      cluster.pause(victim);
      await pause(10_000);
      cluster.resume(victim);
    });
  });

  it('keeps every acknowledged write when all members are killed and restarted', async () => {
    await survive('kill -9 of all members', async () => {
      await Promise.all([0, 1, 2].map((i) => cluster.kill(i)));
      await Promise.all([0, 1, 2].map((i) => cluster.restart(i)));
    });
  });

  it.skipIf(withoutFaults)(
    'keeps every acknowledged write when a broker that leads shards’ logs is killed with -9',
    async () => {
      const { faults } = kafka as AvailableKafka;
      const victim = mostFrequent([...(await topics.leaders(topicPrefix)).values()]);
      await survive(`kill -9 of broker ${victim}`, async () => {
        await faults?.kill(victim);
        await pause(6000);
        await faults?.restart(victim);
      });
    },
  );

  it.skipIf(withoutFaults)(
    'serves linearizable reads while Kafka is unreachable for 20 s, refuses or delays writes, and loses nothing',
    async () => {
      const { faults } = kafka as AvailableKafka;
      let fromMs = 0;
      let toMs = 0;
      const workload = await survive('all brokers stopped for 20 s', async () => {
        for (const broker of [1, 2, 3]) await faults?.pause(broker);
        fromMs = Date.now() + 3000;
        await pause(20_000);
        toMs = Date.now();
        for (const broker of [1, 2, 3]) await faults?.resume(broker);
      });
      const reads = workload.reads.filter((read) => read.startMs >= fromMs && read.endMs <= toMs);
      expect(reads.length).toBeGreaterThan(100);
      expect(reads.filter((read) => !read.ok)).toEqual([]);

      const writes = workload.writes.filter(({ startMs }) => startMs >= fromMs && startMs <= toMs);
      const refused = writes.filter(({ outcome }) => outcome !== 'acknowledged');
      expect(refused.length).toBeGreaterThan(0);
      const clear = ['KV_LOG_UNAVAILABLE', 'KV_UNAVAILABLE', 'KV_DEADLINE', 'KV_TIMEOUT'];
      expect(refused.filter(({ code }) => !clear.includes(code ?? ''))).toEqual([]);
      const late = refused.filter((w) => w.endMs - w.startMs > IMPATIENT_MS + ANSWER_SLACK_MS);
      expect(late).toEqual([]);
    },
  );
});

/** For people: how long each shard took no write. No assertion depends on it. */
function report(what: string, workload: Workload, gaps: ReadonlyMap<string, number>): void {
  const shards = [...gaps]
    .map(([shard, ms]) => `${shard}: ${ms}`)
    .sort((a, b) => a.localeCompare(b));
  const { acknowledgedCount, reads, unacknowledged } = workload;
  process.stderr.write(
    `${what}: longest gap ${Math.max(...gaps.values())} ms (per shard, ms: ${shards.join(', ')}); ` +
      `${acknowledgedCount} writes acknowledged, ${reads.length} reads; others: ${JSON.stringify(unacknowledged)}\n`,
  );
}

function mostFrequent(values: readonly number[]): number {
  const count = (value: number): number => values.filter((other) => other === value).length;
  const [most = 1] = [...values].sort((a, b) => count(b) - count(a));
  return most;
}

async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 60_000,
): Promise<void> {
  const untilMs = Date.now() + timeoutMs;
  while (!(await condition())) {
    expect(Date.now(), `waiting for ${what}`).toBeLessThan(untilMs);
    await pause(50);
  }
}
