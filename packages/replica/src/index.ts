export type { HaltReport } from '@kvorum/raft';
export type {
  Command,
  CommandResult,
  GetResult,
  LeaseMetrics,
  Replica,
  ReplicaMetrics,
  ReplicaPhase,
  ReplicaPort,
  ReplicaStatus,
  RestoreStep,
  SlotStatus,
  WatchHandle,
  WatchSink,
} from './api.ts';
export type { AutoCompactionPolicy } from './auto-compaction.ts';
export type { GenesisPlan } from './genesis-writer.ts';
export { haltError, haltText } from './halt-error.ts';
export type {
  LeaseDrop,
  LeaseNetwork,
  LeasePermission,
  LeaseTime,
  ReplicaLeases,
} from './lease-api.ts';
export {
  type LeaseRequest,
  leaseAnswers,
  parseLeaseRequest,
  serveLeaseRequest,
} from './lease-requests.ts';
export type { SlotCounts } from './load-counter.ts';
export type { LogReader } from './log-reader.ts';
export { createPaces, type Pace, type Paces } from './pace.ts';
export { drive } from './reading.ts';
export {
  chooseReplica,
  type HistoryRelation,
  lossesBy,
  type Recoverable,
  type RecoveryChoice,
  type RecoveryLoss,
  relationOf,
} from './recovery-plan.ts';
export { parseRecoveryReport, RECOVERY_QUESTION, type RecoveryReport } from './recovery-report.ts';
export { openReplica } from './replica.ts';
export type {
  ReplicaLogger,
  ReplicaOptions,
  ReplicaPlace,
  ShardTransport,
} from './replica-options.ts';
export { type OpenedShards, ReplicaStores } from './replica-stores.ts';
export type { HandOverEvent, SlotMoveHost, SlotMoveProgress } from './slot-move-driver.ts';
export { SlotMover, type SlotMoverHost } from './slot-mover.ts';
export { parseSlotRequest, type SlotRequest } from './slot-requests.ts';
export {
  type InstallHost,
  type InstallOptions,
  type InstallStatus,
  SnapshotInstall,
} from './snapshot-install.ts';
export { SNAPSHOT_FORM } from './snapshot-messages.ts';
export { SnapshotSource, type SnapshotSourceHost } from './snapshot-source.ts';
export type { SnapshotView } from './snapshot-view.ts';
export type { SpaceAccount } from './space.ts';
