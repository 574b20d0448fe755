import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect } from '@kvorum/client';
import { DevCluster } from '@kvorum/server';
import kafkajs from 'kafkajs';
import { afterAll, expect, it } from 'vitest';
import { freeDevPort } from '../../scripts/free-ports.ts';
import { ensureKafka } from '../../scripts/kafka/index.ts';
import { ROOT } from '../repo/repository.ts';

const kafka = await ensureKafka({ brokers: 1 });
const directory = mkdtempSync(join(tmpdir(), 'kvorum-feed-'));
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  if (kafka.kind === 'available') await kafka.stop();
});

interface Table {
  readonly position: { readonly offset: number };
  readonly rows: Readonly<Record<string, { readonly value: string; readonly by: string }>>;
}

/** The program of docs/change-feed.md, as its reader runs it. */
async function project(brokers: readonly string[], topic: string, file: string): Promise<Table> {
  const program = `${ROOT}docs/examples/change-feed.ts`;
  const flags = ['--conditions=@kvorum/source', '--import', 'tsx', program];
  const args = [...flags, brokers.join(','), topic, file];
  await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  return JSON.parse(readFileSync(file, 'utf8')) as Table;
}

const valuesOf = ({ rows }: Table): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(rows).map(([key, { value }]) => [key, value]));

/** What a deposed leader does: a record that was decided long ago lands once more. */
async function appendAgain(brokers: readonly string[], topic: string): Promise<void> {
  const client = new kafkajs.Kafka({
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
  });
  const consumer = client.consumer({ groupId: `again-${process.pid}`, maxWaitTimeInMs: 200 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const bytes = await new Promise<Buffer>((resolve) => {
    void consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => {
        if (message.offset === '1' && message.value !== null) resolve(message.value);
      },
    });
  });
  await consumer.disconnect();
  const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  await producer.send({ topic, acks: -1, messages: [{ value: bytes, partition: 0 }] });
  await producer.disconnect();
}

it.skipIf(kafka.kind === 'unavailable')(
  'a Kafka consumer projects the topic into a table, and goes on where it was',
  async () => {
    if (kafka.kind === 'unavailable') return;
    const clientPort = await freeDevPort(1);
    const prefix = `feed-${process.pid}-`;
    process.env['KVD_LOG_TOPIC_PREFIX'] = prefix;
    const cluster = new DevCluster({
      members: 1,
      shards: 1,
      dataDir: '',
      clientPort,
      ephemeral: true,
      log: 'kafka',
      brokers: kafka.brokers,
    });
    await cluster.start(new AbortController().signal);
    const client = await connect({ endpoints: [`127.0.0.1:${clientPort}`], name: 'shop@h1' });
    try {
      const topic = `${prefix}raft-log-0`;
      const file = join(directory, 'table.json');
      await client.put('a', '1');
      await client.put('b', '2');
      const first = await project(kafka.brokers, topic, file);
      expect(valuesOf(first)).toEqual({ a: '1', b: '2' });
      expect(first.rows['a']?.by).toBe('shop@h1');

      await client.put('a', '3');
      await client.delete('b');
      await appendAgain(kafka.brokers, topic);
      await client.put('c', '4');
      const second = await project(kafka.brokers, topic, file);
      expect(valuesOf(second)).toEqual({ a: '3', c: '4' });
      expect(second.position.offset).toBeGreaterThan(first.position.offset);

      rmSync(file);
      expect(await project(kafka.brokers, topic, file)).toEqual(second);
    } finally {
      delete process.env['KVD_LOG_TOPIC_PREFIX'];
      await client.close();
      await cluster.stop();
    }
  },
);
