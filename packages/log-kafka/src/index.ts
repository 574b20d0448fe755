export type { KafkaLogger, LogLevel } from './broker-connection.ts';
export { type KafkaLogsOptions, openKafkaLogs } from './kafka-logs.ts';
