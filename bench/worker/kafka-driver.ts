import kafkajs from 'kafkajs';
import type { Driver } from './driver.ts';

/**
 * Bare kafkajs: a put is one produce request with acks=all carrying one record whose value is the value's bytes.
 * There is nothing to read.
 */
export async function openKafka(brokers: readonly string[], topic: string): Promise<Driver> {
  const kafka = new kafkajs.Kafka({
    clientId: 'kvorum-bench',
    brokers: [...brokers],
    retry: { retries: 0 },
    logLevel: kafkajs.logLevel.NOTHING,
  });
  const producer = kafka.producer({ allowAutoTopicCreation: false, idempotent: false });
  await producer.connect();
  return {
    put: (_key, value) => {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
      const messages = [{ partition: 0, key: null, value: bytes }];
      return producer.send({ topic, acks: -1, messages });
    },
    get: nothingToRead,
    hop: nothingToRead,
    laneOf: async () => topic,
    close: async () => {
      await producer.disconnect();
    },
  };
}

async function nothingToRead(): Promise<never> {
  throw new Error('the load on bare Kafka only writes');
}
