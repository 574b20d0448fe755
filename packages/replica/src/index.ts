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
