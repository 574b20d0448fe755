export { isKvError, KvError } from '@kvorum/base';
export type {
  Credentials,
  HandOvers,
  HealthStatus,
  KeyPermission,
  LogChange,
  LogCursor,
  LogPage,
  LogParams,
  LogRecordInfo,
  MemberChanged,
  MemberChangeParams,
  MemberInfo,
  MemberStatus,
  MoveInfo,
  MoveReplicaParams,
  RecoverParams,
  RecoveryLossInfo,
  RecoveryReplica,
  RecoveryView,
  ReplicaInfo,
  ReshardParams,
  ShardHash,
  ShardInfo,
  SlotInfo,
  SlotsParams,
  SlotsView,
} from '@kvorum/wire';
export type {
  CompactResult,
  DeleteResult,
  PutResult,
  ShardRangeResult,
  TxnOpResult,
  TxnResult,
  WatchEvent,
} from './answer.ts';
export { AuthAdmin, type AuthStatus, type PermissionKind } from './auth-admin.ts';
export { connect, KvorumClient } from './client.ts';
export { type EndpointStatus, stateOf, type Transferred } from './control.ts';
export { type CampaignOptions, Election, Leadership } from './election.ts';
export { Entry } from './entry.ts';
export type { Bytes, KeyRange } from './key-range.ts';
export { Lease } from './lease.ts';
export type { LeaseRef } from './lease-ref.ts';
export type { GrantOptions, LeaseState, Leases, OpenOptions } from './leases.ts';
export { Lock, type LockOptions } from './lock.ts';
export type { CallOptions, ConnectOptions } from './options.ts';
export type { RangeResult, ShardRevision } from './range-merge.ts';
export type {
  CompactOptions,
  DeleteOptions,
  GetOptions,
  PutOptions,
  RangeOptions,
} from './request-options.ts';
export { type StmOptions, StmTxn } from './stm.ts';
export { type CompareSign, compare, op, TxnBuilder, type TxnInit } from './txn.ts';
export { Watch, type WatchOptions } from './watch.ts';
