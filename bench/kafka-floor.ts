import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';
import type { Brokers } from './kafka.ts';
import { Load } from './load.ts';
import type { Workspace } from './processes.ts';

/** The size of record that a busy shard writes: half the batch target. */
export const LARGE_RECORD_BYTES = 256 * 1024;

/** Bare kafkajs on a topic of its own with the settings Kvorum uses: the floor under every put. */
export async function openKafkaFloor(workspace: Workspace, brokers: Brokers): Promise<Load> {
  const topic = `bench-floor-${randomBytes(6).toString('hex')}`;
  const kafka = new kafkajs.Kafka({
    clientId: 'kvorum-bench-floor',
    brokers: [...brokers.addresses],
    logLevel: kafkajs.logLevel.ERROR,
  });
  const admin = kafka.admin();
  await admin.connect();
  try {
    await admin.createTopics({
      waitForLeaders: true,
      topics: [
        {
          topic,
          numPartitions: 1,
          replicationFactor: 3,
          configEntries: [{ name: 'min.insync.replicas', value: '2' }],
        },
      ],
    });
  } finally {
    await admin.disconnect();
  }
  return Load.open(workspace, { system: 'kafka', brokers: brokers.addresses, topic });
}
