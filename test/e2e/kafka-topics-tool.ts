// Stands for Kafka's `kafka-topics.sh` where only the brokers are there: the two commands of it that the documents use.
import { parseArgs } from 'node:util';
import { KafkaTopics } from './kafka-topics.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const { values } = parseArgs({
  options: {
    'bootstrap-server': text,
    topic: text,
    partitions: text,
    'replication-factor': text,
    config: { type: 'string', multiple: true },
    create: flag,
    delete: flag,
  },
});
const brokers = values['bootstrap-server'];
const { topic } = values;
if (brokers === undefined || topic === undefined) {
  throw new TypeError('--bootstrap-server and --topic are needed');
}
const topics = await KafkaTopics.connect(brokers.split(','));
if (values.delete === true) await topics.delete(new RegExp(`^(?:${topic})$`));
if (values.create === true) {
  const partitions = Number(values.partitions);
  const replicas = Number(values['replication-factor']);
  await topics.createAs(topic, { partitions, replicas }, values.config ?? []);
  process.stdout.write(`Created topic ${topic}.\n`);
}
await topics.close();
