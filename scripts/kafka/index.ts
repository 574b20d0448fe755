export { type AvailableKafka, ensureKafka, type UnavailableKafka } from './ensure.ts';
export { type LocalKafka, type StartKafkaOptions, startKafka } from './local-cluster.ts';
