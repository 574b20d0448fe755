export {
  type AvailableKafka,
  ensureKafka,
  SHARED_BROKERS,
  type UnavailableKafka,
} from './ensure.ts';
export { type LocalKafka, type StartKafkaOptions, startKafka } from './local-cluster.ts';
