import { fromUtf8, logOffset, shardId, utf8 } from '@kvorum/base';
import { openKafkaLogs } from '@kvorum/log-kafka';
import type { SharedLog, SharedLogs } from '@kvorum/ports';
import { describeSharedLogContract } from '@kvorum/testkit';
import kafkajs from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { API_NAMES, BrokerProxy } from './broker-proxy.ts';
import { freshPrefix, kafkaForTests } from './kafka.ts';

const kafka = await kafkaForTests();
const brokers = kafka?.brokers ?? [];
const SPEC = { shard: shardId(0), generation: 0 };
const never = new AbortController().signal;

describe.skipIf(kafka === undefined)('on a real Kafka', () => {
  describeSharedLogContract('Kafka', async () => {
    const topicPrefix = freshPrefix();
    let members = 0;
    return {
      recordBytesMax: 4 * 1024 * 1024,
      openMember: async () => {
        members += 1;
        return openKafkaLogs({ brokers, topicPrefix, clientId: `member-${members}` });
      },
      // Kafka keeps everything outside the member, so closing and opening is all that a restart is.
      restart: async () => {},
      dispose: async () => {},
    };
  });
});

describe.skipIf(kafka === undefined)('topics on a real Kafka', () => {
  const opened: SharedLogs[] = [];
  let admin: kafkajs.Admin;

  beforeAll(async () => {
    const client = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
    admin = client.admin();
    await admin.connect();
  });
  afterAll(() => admin.disconnect());
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((logs) => logs.close()));
  });

  function logsOf(
    topicPrefix: string,
    more: { dev?: boolean; proxy?: BrokerProxy } = {},
  ): SharedLogs {
    const { dev = false, proxy } = more;
    const logs = openKafkaLogs({
      brokers,
      topicPrefix,
      clientId: 'test',
      dev,
      ...(proxy !== undefined && { socketFactory: proxy.socketFactory }),
    });
    opened.push(logs);
    return logs;
  }

  async function createTopic(
    topic: string,
    overrides: Record<string, string> = {},
    layout: { numPartitions?: number; replicationFactor?: number } = {},
  ): Promise<void> {
    const settings: Record<string, string> = {
      'cleanup.policy': 'delete',
      'retention.ms': '-1',
      'retention.bytes': '-1',
      'unclean.leader.election.enable': 'false',
      'message.timestamp.type': 'LogAppendTime',
      'min.insync.replicas': '2',
      'max.message.bytes': String(5 * 1024 * 1024),
      ...overrides,
    };
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
    const wanted = { topic, numPartitions: 1, replicationFactor: 3, ...layout, configEntries };
    await admin.createTopics({ topics: [wanted], waitForLeaders: true });
  }

  async function alter(topic: string, name: string, value: string): Promise<void> {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }],
    });
    // AlterConfigs replaces all settings of the topic, so those that were set on it are named again.
    const kept = (resources[0]?.configEntries ?? [])
      .filter((entry) => entry.configSource === 1 && entry.configName !== name)
      .map((entry) => ({ name: entry.configName, value: entry.configValue }));
    await admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: kafkajs.ConfigResourceTypes.TOPIC,
          name: topic,
          configEntries: [...kept, { name, value }],
        },
      ],
    });
  }

  async function textsOf(log: SharedLog, count: number): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) {
      const from = logOffset(texts.length);
      const outcome = await log.read(from, { bytesMax: 1 << 20, waitMs: 2000, signal: never });
      if (outcome.kind !== 'records' || outcome.entries.length === 0) break;
      texts.push(...outcome.entries.map(({ bytes }) => fromUtf8(bytes)));
    }
    return texts;
  }

  it.each([
    ['retention.ms', '604800000', '-1'],
    ['retention.bytes', '1000000000', '-1'],
    ['cleanup.policy', 'compact', 'delete'],
    ['unclean.leader.election.enable', 'true', 'false'],
    ['min.insync.replicas', '1', '2'],
    ['max.message.bytes', '1048588', '4194432'],
    ['message.timestamp.type', 'CreateTime', 'LogAppendTime'],
    ['compression.type', 'gzip', 'producer'],
  ])('refuses a topic with %s=%s, and says how to mend it', async (setting, wrong, right) => {
    const prefix = freshPrefix();
    const topic = `${prefix}0`;
    await createTopic(topic, { [setting]: wrong });
    const opening = logsOf(prefix).open(SPEC, { create: true });
    await expect(opening).rejects.toMatchObject({ code: 'KV_LOG_MISCONFIGURED' });
    await expect(opening).rejects.toThrow(
      new RegExp(
        `${setting} is ${wrong}, must be .*kafka-configs.sh --bootstrap-server .* --alter ` +
          `--entity-type topics --entity-name ${topic} --add-config ${setting}=${right}`,
      ),
    );
    await alter(topic, setting, right);
    // Brokers hear of it one after the other.
    await expect
      .poll(() => logsOf(prefix).open(SPEC, { create: false }), { timeout: 10_000 })
      .toMatchObject({ name: topic });
  });

  it("refuses a topic with the broker's default retention", async () => {
    const prefix = freshPrefix();
    const layout = { numPartitions: 1, replicationFactor: 3 };
    await admin.createTopics({ topics: [{ topic: `${prefix}0`, ...layout }] });
    await expect(logsOf(prefix).open(SPEC, { create: true })).rejects.toThrow(
      /retention.ms is 604800000, must be -1/,
    );
  });

  it('refuses two partitions and one replica, also by name', async () => {
    const prefix = freshPrefix();
    const layout = { numPartitions: 2, replicationFactor: 1 };
    await createTopic(`${prefix}0`, { 'min.insync.replicas': '1' }, layout);
    const opening = logsOf(prefix).open(SPEC, { create: true });
    await expect(opening).rejects.toThrow(/it has 2 partitions, must have exactly 1/);
    await expect(opening).rejects.toThrow(/replication factor is 1, must be at least 3.*reassign/);
    await expect(opening).rejects.toThrow(/min.insync.replicas is 1, must be at least 2/);
    await expect(logsOf(prefix, { dev: true }).open(SPEC, { create: true })).rejects.toThrow(
      /^(?!.*replication factor)(?!.*insync).*2 partitions/,
    );
  });

  it('dev takes one replica', async () => {
    const prefix = freshPrefix();
    await createTopic(`${prefix}0`, { 'min.insync.replicas': '1' }, { replicationFactor: 1 });
    const log = await logsOf(prefix, { dev: true }).open(SPEC, { create: true });
    expect(await log.append(utf8('a'))).toEqual({ kind: 'appended', offset: 0 });
  });

  it('several readers of one log at different offsets each get every record from theirs on', async () => {
    const logs = logsOf(freshPrefix());
    const writer = await logs.open(SPEC, { create: true });
    const readers = await Promise.all([1, 2, 3].map(() => logs.open(SPEC, { create: false })));
    const texts = ['a', 'b', 'c', 'd', 'e'];
    for (const text of texts) await writer.append(utf8(text));
    const read = { bytesMax: 1 << 20, waitMs: 5000, signal: never };
    const seen = await Promise.all(readers.map((reader, i) => reader.read(logOffset(2 * i), read)));
    for (const [i, outcome] of seen.entries()) {
      const got = outcome.kind === 'records' ? outcome.entries.map(({ offset }) => offset) : [];
      expect(got).toEqual([0, 1, 2, 3, 4].slice(2 * i));
    }
  });

  it('verify finds what was changed after opening', async () => {
    const prefix = freshPrefix();
    const logs = logsOf(prefix);
    await logs.open(SPEC, { create: true });
    expect(await logs.verify()).toEqual([]);
    await alter(`${prefix}0`, 'retention.ms', '1000');
    await expect.poll(() => logs.verify(), { timeout: 10_000 }).toHaveLength(1);
    const [found] = await logs.verify();
    expect(found?.log).toBe(`${prefix}0`);
    expect(found?.problem).toMatch(/retention.ms is 1000, must be -1; fix: kafka-configs.sh/);
  });

  it('an acknowledged append whose answer is lost is unknown, and the next has an offset of its own', async () => {
    const proxy = await BrokerProxy.open(brokers);
    try {
      const log = await logsOf(freshPrefix(), { proxy }).open(SPEC, { create: true });
      expect(await log.append(utf8('before'))).toMatchObject({ kind: 'appended', offset: 0 });
      proxy.loseNextAnswerTo('Produce');
      expect(await log.append(utf8('A'))).toMatchObject({
        kind: 'unknown',
        error: { code: 'KV_LOG_UNAVAILABLE', outcome: 'unknown' },
      });
      // With an idempotent producer this would be "acknowledged" at A's offset and lost (kafka-log.md §0.3).
      expect(await log.append(utf8('B'))).toMatchObject({ kind: 'appended', offset: 2 });
      expect(await textsOf(log, 3)).toEqual(['before', 'A', 'B']);
    } finally {
      await proxy.close();
    }
  });

  it('needs no group coordinator, no producer id and no transaction: only these requests', async () => {
    const proxy = await BrokerProxy.open(brokers);
    try {
      const logs = logsOf(freshPrefix(), { proxy });
      const log = await logs.open(SPEC, { create: true });
      await log.append(utf8('a'));
      expect(await textsOf(log, 1)).toEqual(['a']);
      await log.bounds();
      await log.truncate(logOffset(1));
      await logs.verify();
      expect([...proxy.requests].sort()).toEqual(Object.values(API_NAMES).sort());
    } finally {
      await proxy.close();
    }
  });

  it('a record too large for the topic is absent and oversize; the next goes through', async () => {
    const prefix = freshPrefix();
    const log = await logsOf(prefix).open(SPEC, { create: true });
    await alter(`${prefix}0`, 'max.message.bytes', '10000');
    await expect
      .poll(() => log.append(new Uint8Array(20_000)), { timeout: 10_000 })
      .toMatchObject({ kind: 'absent', oversize: true });
    const { offset = -1 } = (await log.append(utf8('next'))) as { offset?: number };
    expect(offset).toBeGreaterThanOrEqual(0);
  });

  it('a deleted topic is unavailable; created again it starts from 0, which a reader sees as out of range', async () => {
    const prefix = freshPrefix();
    const topic = `${prefix}0`;
    const log = await logsOf(prefix).open(SPEC, { create: true });
    for (const text of ['a', 'b', 'c']) await log.append(utf8(text));
    await admin.deleteTopics({ topics: [topic] });
    const read = { bytesMax: 1000, waitMs: 500, signal: never };
    await expect
      .poll(() => log.read(logOffset(3), read), { timeout: 10_000 })
      .toMatchObject({ kind: 'unavailable' });
    expect(await log.append(utf8('x'))).toMatchObject({ kind: 'absent' });
    await createTopic(topic);
    await expect
      .poll(() => log.read(logOffset(3), read), { timeout: 10_000 })
      .toEqual({ kind: 'out-of-range', bounds: { start: 0, end: 0 } });
    expect(await log.append(utf8('y'))).toEqual({ kind: 'appended', offset: 0 });
  });
});
