import { openKafkaLogs } from '@kvorum/log-kafka';
import { describeSharedLogContract } from '@kvorum/testkit';
import { describe } from 'vitest';
import { freshPrefix, kafkaForTests } from './kafka.ts';

const kafka = await kafkaForTests();

describe.skipIf(kafka === undefined)('on a real Kafka', () => {
  describeSharedLogContract('Kafka', async () => {
    const topicPrefix = freshPrefix();
    let members = 0;
    return {
      recordBytesMax: 4 * 1024 * 1024,
      openMember: async () => {
        members += 1;
        const clientId = `member-${members}`;
        return openKafkaLogs({ brokers: kafka?.brokers ?? [], topicPrefix, clientId });
      },
      restart: async () => {},
      dispose: async () => {},
    };
  });
});
