import kafkajs from 'kafkajs';
import type { Driver } from './driver.ts';

/**
 * Bare kafkajs: a put is one produce request with acks=all carrying one record whose value is the value's bytes.
 * There is nothing to get.
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
    put: async (_key, value) => {
      const messages = [
        {
          partition: 0,
          key: null,
          value: Buffer.from(value.buffer, value.byteOffset, value.length),
        },
      ];
      await producer.send({ topic, acks: -1, messages });
    },
    get: async () => false,
    laneOf: async () => topic,
    close: async () => {
      await producer.disconnect();
    },
  };
}
