import { clusterId, type MemberId, memberId, shardId } from '@kvorum/base';
import {
  type ElectionMetrics,
  type KafkaElection,
  type KafkaElectionOptions,
  openKafkaElection,
} from '@kvorum/log-kafka';
import type { PeerEnvelope } from '@kvorum/ports';
import { describePeerMessagesContract } from '@kvorum/testkit';
import { encodeElectionFrame } from '@kvorum/wire';
import kafkajs from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BrokerProxy } from './broker-proxy.ts';
import { freshPrefix, kafkaForTests } from './kafka.ts';

const kafka = await kafkaForTests();
const brokers = kafka?.brokers ?? [];
const CLUSTER = clusterId(0xc0ffeen);
const [A, B, ABSENT] = [memberId(0xan), memberId(2n ** 64n - 1n), memberId(3n)];
const LIMITS = {
  logPollMs: 500,
  logReadBytesMax: 8 * 1024 * 1024,
  electionMsMax: 10_000,
  peerQueueMessagesMax: 16_384,
};
const SHARD = shardId(3);
const envelope = (payload: unknown): PeerEnvelope => ({ shard: SHARD, payload });

const opened: KafkaElection[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((election) => election.close()));
});

async function open(
  topicPrefix: string,
  self: MemberId,
  more: Partial<KafkaElectionOptions> = {},
): Promise<KafkaElection> {
  const election = await openKafkaElection({
    brokers,
    topicPrefix,
    clientId: 'test',
    self,
    cluster: CLUSTER,
    limits: LIMITS,
    isLeaders: (payload) => payload === 'beat',
    ...more,
  });
  opened.push(election);
  return election;
}

async function until(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { timeout: 10_000, interval: 5 }).toBe(true);
}

describe.skipIf(kafka === undefined)('on a real Kafka', () => {
  describePeerMessagesContract('Kafka', async () => {
    const prefix = freshPrefix();
    const a = await open(prefix, A);
    return { a, b: await open(prefix, B), absent: ABSENT, until, dispose: async () => {} };
  });
});

/** Counts what a member did. */
function counting(): ElectionMetrics & {
  readonly produced: ElectionMetrics['produced'];
  readonly records: string[];
  readonly ignoredReasons: string[];
  messages: number;
} {
  const counts = {
    records: [] as string[],
    ignoredReasons: [] as string[],
    messages: 0,
    produced: (topic: string, of: { messages: number }) => {
      if (of.messages > 0) counts.records.push(topic);
      counts.messages += of.messages;
    },
    lost: () => {},
    received: () => {},
    ignored: (reason: string) => {
      counts.ignoredReasons.push(reason);
    },
  };
  return counts;
}

describe.skipIf(kafka === undefined)('election topics on a real Kafka', () => {
  let admin: kafkajs.Admin;
  let producer: kafkajs.Producer;
  beforeAll(async () => {
    const client = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
    admin = client.admin();
    producer = client.producer({ allowAutoTopicCreation: false });
    await Promise.all([admin.connect(), producer.connect()]);
  });
  afterAll(() => Promise.all([admin.disconnect(), producer.disconnect()]));

  it('all that is said to anybody in one turn is one record, and one message to several is written once', async () => {
    const prefix = freshPrefix();
    const metrics = counting();
    const a = await open(prefix, A, { metrics });
    const b = await open(prefix, B);
    const received: unknown[] = [];
    b.onMessage((from, { payload }) => received.push([from, payload]));
    const shared = { kind: 'for all' };
    for (const to of [B, ABSENT]) a.send(to, envelope(shared));
    for (const payload of ['one', 'two']) a.send(B, envelope(payload));
    await until(() => received.length === 3);
    expect(received).toEqual([shared, 'one', 'two'].map((payload) => [A, payload]));
    expect([metrics.records, metrics.messages]).toEqual([[`${prefix}vote`], 3]);
    a.send(B, envelope('beat'));
    await until(() => received.length === 4);
    expect(metrics.records).toEqual([`${prefix}vote`, `${prefix}leader`]);
  });

  it('a member hears nothing of what was said before it started', async () => {
    const prefix = freshPrefix();
    const a = await open(prefix, A);
    a.send(B, envelope('early'));
    await expect.poll(() => endOf(`${prefix}vote`), { timeout: 10_000 }).toBeGreaterThan(0);
    const b = await open(prefix, B);
    const received: unknown[] = [];
    b.onMessage((_, { payload }) => received.push(payload));
    await until(() => a.isReachable(B));
    a.send(B, envelope('late'));
    await until(() => received.length > 0);
    expect(received).toEqual(['late']);
  });

  it('a message meant for an earlier process of a member does not reach the next one; malformed bytes reach nobody', async () => {
    const prefix = freshPrefix();
    const metrics = counting();
    const b = await open(prefix, B, { metrics });
    const received: unknown[] = [];
    b.onMessage((_, { payload }) => received.push(payload));
    const said = (payload: string, boot: string | undefined): Buffer =>
      Buffer.from(
        encodeElectionFrame({
          ...{ cluster: CLUSTER, from: A, boot: 'a'.repeat(16), leaving: false },
          addressees: [{ member: B, boot }],
          messages: [{ to: [B], shard: SHARD, payload }],
        }),
      );
    const values = [
      said('to the process before', 'b'.repeat(16)),
      Buffer.from('no frame'),
      said('to whoever is there', undefined),
    ];
    await producer.send({ topic: `${prefix}vote`, messages: values.map((value) => ({ value })) });
    await until(() => received.length > 0);
    expect(received).toEqual(['to whoever is there']);
    expect(metrics.ignoredReasons).toEqual(['other-process', 'malformed']);
    expect(b.isReachable(A)).toBe(true);
  });

  it('a member that died is another process when it is back: gone at once, and reachable again later', async () => {
    const prefix = freshPrefix();
    const proxy = await BrokerProxy.open(brokers);
    try {
      const a = await open(prefix, A);
      const first = await open(prefix, B, { socketFactory: proxy.socketFactory });
      await until(() => a.isReachable(B));
      const events: boolean[] = [];
      a.onReachability((_, reachable) => events.push(reachable));
      await proxy.close(); // no goodbye gets through any more
      await first.close();
      const second = await open(prefix, B);
      const received: unknown[] = [];
      second.onMessage((_, { payload }) => received.push(payload));
      await until(() => events.length === 2);
      expect(events).toEqual([false, true]);
      a.send(B, envelope('welcome back'));
      await until(() => received.length === 1);
    } finally {
      await proxy.close();
    }
  });

  it('clusters that share the topics by mistake do not hear each other, and are told', async () => {
    const prefix = freshPrefix();
    const warnings: string[] = [];
    const metrics = counting();
    const a = await open(prefix, A, {
      metrics,
      logger: (level, message) => level === 'warn' && warnings.push(message),
    });
    await open(prefix, B, { cluster: clusterId(5n) });
    await until(() => metrics.ignoredReasons.length > 0);
    expect([a.isReachable(B), metrics.ignoredReasons[0]]).toEqual([false, 'other-cluster']);
    expect(warnings).toEqual(['another cluster uses the same election topics']);
  });

  it('creates the topics with 3 replicas, votes to be deleted after an hour and beats to be compacted', async () => {
    const prefix = freshPrefix();
    const a = await open(prefix, A);
    expect(await a.verify()).toEqual([]);
    const names = [`${prefix}vote`, `${prefix}leader`];
    const { topics } = await admin.fetchTopicMetadata({ topics: names });
    expect(
      topics.map(({ partitions }) => partitions.map(({ replicas }) => replicas.length)),
    ).toEqual([[3], [3]]);
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: names.map((name) => ({ type: kafkajs.ConfigResourceTypes.TOPIC, name })),
    });
    const settings = names.map((name) => {
      const entries = resources.find(({ resourceName }) => resourceName === name)?.configEntries;
      const of = (setting: string): string | undefined =>
        entries?.find(({ configName }) => configName === setting)?.configValue;
      return [of('cleanup.policy'), of('min.insync.replicas'), of('retention.ms')];
    });
    expect(settings).toEqual([
      ['delete', '1', '3600000'],
      ['compact', '1', '604800000'],
    ]);
  });

  it('refuses a topic for the beats that is not compacted, and says how to mend it', async () => {
    const prefix = freshPrefix();
    const layout = { numPartitions: 1, replicationFactor: 3 };
    await admin.createTopics({
      topics: [{ topic: `${prefix}leader`, ...layout }],
      waitForLeaders: true,
    });
    await expect(open(prefix, A)).rejects.toThrow(
      /leader: .*cleanup.policy is delete, must be compact; fix: kafka-configs.sh/,
    );
  });

  async function endOf(topic: string): Promise<number> {
    const [only] = await admin.fetchTopicOffsets(topic);
    return Number(only?.high ?? 0);
  }
});
