import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';

const TOPIC = 'kvorum-ready';
const READY_MS = 90_000;
const POLL_MS = 250;

/** Waits until `count` brokers are in the cluster and a record with acks=all on all of them (at most 3) is stored. */
export async function untilReady(brokers: readonly string[], count: number): Promise<void> {
  const deadlineMs = performance.now() + READY_MS;
  for (;;) {
    try {
      await probe(brokers, count);
      return;
    } catch (error) {
      if (performance.now() > deadlineMs) {
        throw new Error(`Kafka is not ready after ${READY_MS} ms: ${String(error)}`);
      }
      await sleep(POLL_MS);
    }
  }
}

async function probe(brokers: readonly string[], count: number): Promise<void> {
  const kafka = new kafkajs.Kafka({
    brokers: [...brokers],
    clientId: 'kvorum-ready',
    logLevel: kafkajs.logLevel.NOTHING,
    requestTimeout: 5000,
    connectionTimeout: 500,
    retry: { retries: 2, initialRetryTime: 100 },
  });
  const admin = kafka.admin();
  const producer = kafka.producer({ allowAutoTopicCreation: false, retry: { retries: 0 } });
  try {
    await admin.connect();
    const cluster = await admin.describeCluster();
    if (cluster.brokers.length < count) throw new Error(`${cluster.brokers.length} of ${count}`);
    const replicationFactor = Math.min(3, brokers.length);
    const topics = [{ topic: TOPIC, numPartitions: 1, replicationFactor }];
    if (!(await admin.listTopics()).includes(TOPIC)) await admin.createTopics({ topics });
    await producer.connect();
    const messages = [{ partition: 0, value: 'ready' }];
    await producer.send({ topic: TOPIC, acks: -1, timeout: 4000, messages });
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()]);
  }
}
