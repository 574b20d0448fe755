export type {
  Command,
  CommandResult,
  GetResult,
  ReplicaMetrics,
  ReplicaPort,
  ReplicaStatus,
  WatchHandle,
  WatchSink,
} from './api.ts';
export {
  openReplica,
  type Replica,
  type ReplicaLogger,
  type ReplicaOptions,
  type ShardTransport,
} from './replica.ts';
