export type { KafkaLogger, LogLevel } from './broker-connection.ts';
export {
  type ElectionMetrics,
  type IgnoredReason,
  type KafkaElection,
  type KafkaElectionOptions,
  openKafkaElection,
} from './kafka-election.ts';
export { type KafkaLogsOptions, openKafkaLogs } from './kafka-logs.ts';
export type { KafkaOptions } from './kafka-options.ts';
