export type { HaltReport } from '@kvorum/raft';
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
export type { AutoCompactionPolicy } from './auto-compaction.ts';
export { haltError, haltText } from './halt-error.ts';
export { openReplica, type Replica } from './replica.ts';
export type { ReplicaLogger, ReplicaOptions, ShardTransport } from './replica-options.ts';
export { ReplicaStores } from './replica-stores.ts';
export type { SnapshotView } from './snapshot-view.ts';
export type { SpaceAccount } from './space.ts';
