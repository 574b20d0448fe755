import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { connect } from '@kvorum/client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../scripts/free-ports.ts';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { Command, KVD } from './command.ts';
import { KafkaTopics } from './kafka-topics.ts';
import { ProcessCluster } from './process-cluster.ts';

/** What an operator may get wrong at a start: kvd says what, why and the way back, and ends with the documented code. */
const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED bad start tests, no Kafka: ${kafka.reasons.join('; ')}\n`);
}

/** `kvd --help`: exit codes. */
const CONFIG = 2;
const DATA_DIR = 3;
const LOG_UNAVAILABLE = 4;
const LOG_MISCONFIGURED = 5;

let made: ProcessCluster[] = [];
afterEach(async () => {
  await Promise.all(made.map((cluster) => cluster.stop()));
  made = [];
});

/** One member, not started; stopped and removed after the test. */
async function prepared(
  bootstrap: string,
  topicPrefix: string,
  config: Readonly<Record<string, unknown>> = {},
): Promise<ProcessCluster> {
  const cluster = await ProcessCluster.prepare({ bootstrap, topicPrefix, members: 1, config });
  made.push(cluster);
  return cluster;
}

describe.skipIf(kafka.kind === 'unavailable')('beside a cluster that serves', () => {
  const topicPrefix = `start-${process.pid}-`;
  let bootstrap = '';
  let topics: KafkaTopics;
  let cluster: ProcessCluster;
  let marks = 0;

  beforeAll(async () => {
    const { source, brokers } = kafka as AvailableKafka;
    ({ bootstrap } = kafka as AvailableKafka);
    process.stderr.write(`bad start on ${source}: ${bootstrap}, topics ${topicPrefix}…\n`);
    topics = await KafkaTopics.connect(brokers);
    cluster = await ProcessCluster.start({ bootstrap, topicPrefix, shards: 2, members: 1 });
  });
  afterAll(async () => {
    await topics?.close();
    await cluster?.stop();
    if (kafka.kind === 'available') await kafka.stop();
  });

  /** What was there is still there, and more can be written. */
  afterEach(async () => {
    await cluster.ready(0);
    const client = await connect({ endpoints: cluster.endpoints, timeoutMs: 30_000 });
    marks += 1;
    await client.put(`still/${marks}`, 'here');
    const { count } = await client.getAll({ prefix: 'still/', countOnly: true });
    expect(count).toBe(marks);
    await client.close();
  });

  it('another cluster on the same topics is refused before it writes a record', async () => {
    const names = [...(await topics.leaders(topicPrefix)).keys()];
    const ends = (): Promise<readonly number[]> =>
      Promise.all(names.map((name) => topics.end(name)));
    const before = await ends();
    const other = await ProcessCluster.prepare({
      ...{ bootstrap, topicPrefix, members: 1, shards: 2 },
      clusterName: 'other',
    });
    made.push(other);
    const end = await other.run(0);
    expect(end.code).toBe(LOG_MISCONFIGURED);
    expect(end.output).toMatch(
      /raft-log-meta belongs to another cluster.*give every cluster a log\.topicPrefix of its own/,
    );
    expect(await ends()).toEqual(before);
  });

  it('a second kvd on the same data directory is refused', async () => {
    const [client, peer] = await freePorts(2);
    const flags = ['--listen-client', `127.0.0.1:${client}`, '--listen-peer', `127.0.0.1:${peer}`];
    const end = await new Command(KVD, ['--config', cluster.configPath(0), ...flags]).end();
    expect(end.code).toBe(DATA_DIR);
    expect(end.output).toMatch(/another process uses it.*\(KV_DATA_DIR\)/);
  });

  it('a data directory whose owner was killed is not locked', async () => {
    await cluster.kill(0);
    await cluster.restart(0);
  });

  it.each<
    [string, { partitions?: number; replicas?: number }, Record<string, string>, readonly RegExp[]]
  >([
    [
      'with finite retention',
      {},
      { 'retention.ms': '86400000', 'retention.bytes': '1000000000' },
      [
        /retention\.ms is 86400000, must be -1; fix: kafka-configs\.sh .*--add-config retention\.ms=-1/,
        /retention\.bytes is 1000000000, must be -1; fix: .*--add-config retention\.bytes=-1/,
      ],
    ],
    [
      'of one replica',
      { replicas: 1 },
      { 'min.insync.replicas': '1' },
      [
        /replication factor is 1, must be at least 3; fix: .*kafka-reassign-partitions\.sh/,
        /min\.insync\.replicas is 1, must be at least 2; fix: .*--add-config min\.insync\.replicas=2/,
      ],
    ],
    ['of two partitions', { partitions: 2 }, {}, [/2 partitions, must have exactly 1;.*--delete/]],
    [
      'that is compacted and may elect unclean leaders',
      {},
      { 'cleanup.policy': 'compact', 'unclean.leader.election.enable': 'true' },
      [
        /cleanup\.policy is compact, must be delete; fix: .*--add-config cleanup\.policy=delete/,
        /unclean\.leader\.election\.enable is true, must be false; fix: /,
      ],
    ],
  ])(
    'a topic %s is refused with each setting and its fix',
    async (_what, layout, settings, texts) => {
      const prefix = `${topicPrefix}unsafe-${marks}-`;
      const topic = `${prefix}raft-log-meta`;
      await topics.create(topic, layout, settings);
      const end = await (await prepared(bootstrap, prefix)).run(0);
      expect(end.code).toBe(LOG_MISCONFIGURED);
      expect(end.output).toContain(`topic ${topic}`);
      for (const text of texts) expect(end.output).toMatch(text);
      expect(end.output).not.toContain('    at ');
      expect(await topics.end(topic)).toBe(0);
    },
  );

  it('an unknown setting is refused with the nearest name', async () => {
    const one = await prepared(bootstrap, `${topicPrefix}typo-`, { shard: 4, log: { broker: [] } });
    const end = await one.run(0);
    expect(end.code).toBe(CONFIG);
    expect(end.output).toMatch(/unknown key shard; did you mean shards\?/);
    expect(end.output).toMatch(/unknown key log\.broker; did you mean log\.brokers\?/);
  });
});

describe('brokers that do not answer', () => {
  const log = (port: number | undefined): Readonly<Record<string, unknown>> => ({
    log: { kind: 'kafka', brokers: [`127.0.0.1:${port}`], startupTimeoutMs: 3000 },
  });

  it('because nobody listens: kvd waits as long as it was told, names them and ends', async () => {
    const [port] = await freePorts(1);
    const one = await prepared('', '', log(port));
    const end = await one.run(0, 60_000);
    expect(end.code).toBe(LOG_UNAVAILABLE);
    expect(end.output).toMatch(
      new RegExp(
        `127\\.0\\.0\\.1:${port} did not answer within 3000 ms .*check that the brokers run`,
      ),
    );
  });

  it('because they accept and say nothing: the same', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const { port } = silent.address() as { port: number };
    const end = await (await prepared('', '', log(port))).run(0, 60_000);
    for (const socket of sockets) socket.destroy();
    await once(silent.close(), 'close');
    expect(end.code).toBe(LOG_UNAVAILABLE);
    expect(end.output).toContain(`127.0.0.1:${port} did not answer within 3000 ms`);
  });
});
