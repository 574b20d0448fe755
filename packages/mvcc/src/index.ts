export type { CommandResult, Proposal } from './command.ts';
export type { CompactionChunk, CompactionCursor } from './compaction.ts';
export { type Applied, type BatchOfGets, Engine, type Execution } from './engine.ts';
export {
  decodeMeta,
  type EngineMeta,
  encodeMeta,
  initialMeta,
  STORE_FORMAT,
} from './engine-meta.ts';
export { digestHistory } from './history-hash.ts';
export {
  attachedKey,
  attachmentKey,
  attachmentsOf,
  decodeLease,
  decodeLeaseMark,
  encodeLease,
  encodeLeaseMark,
  isLeaseRowKey,
  LEASE_MARK_KEY,
  type LeaseMark,
  type LeaseRow,
  leaseKey,
  leaseOfKey,
} from './lease-codec.ts';
export {
  type AdmittedLease,
  type LeaseCommand,
  type LeasePermit,
  leaseCommandBytes,
  type RevokeStage,
} from './lease-command.ts';
export { type ExpiringLease, LeaseQueue } from './lease-queue.ts';
export { decodeOrigins, type Origins } from './origins.ts';
export {
  keyAfter,
  type ReadAnswer,
  type Reading,
  type ReadRequest,
  type StoredRow,
  type StoredValue,
} from './reading.ts';
export {
  applyRowsUpTo,
  checkRestoredRow,
  HEADS,
  restoredRow,
  restoreFinish,
  restoreRows,
  userKeyOfRow,
} from './restore.ts';
export {
  COMPACTION_KEY,
  clientIdOfSession,
  decodeHead,
  HARD_STATE_KEY,
  type Head,
  headKey,
  isRow,
  MEMBERSHIP_KEY,
  META_KEY,
  REVISION_TIMES_KEY,
  type RowFields,
  revisionKey,
  rowKeyValue,
  SHARD_TIME_KEY,
  STATE_PREFIXES,
  sessionKey,
} from './row-codec.ts';
export type {
  ImportBegin,
  ImportRows,
  SlotCommand,
} from './slot-command.ts';
export { type PiecePart, partsOfPiece, type SlotExport } from './slot-execution.ts';
export type { SlotState } from './slot-keeper.ts';
export {
  addSpans,
  decodeOwnership,
  emptyOwnership,
  type FrozenSlots,
  historyFloor,
  OWNERSHIP_KEY,
  type SlotDrop,
  type SlotImport,
  type SlotOwnership,
  type SlotSpace,
  type SlotSpan,
  SlotTable,
  spansHold,
  spansMeet,
  subtractSpans,
} from './slot-ownership.ts';
export type { StateDigest } from './state-hash.ts';
export { isEmptyRange, isReadOnly, isSerializable, validate } from './validate.ts';
export { type WatchBatch, WatchHub, type WatchSink } from './watch-hub.ts';
export {
  applyWriteSet,
  decodeWriteSet,
  encodeWriteSet,
  type SlotChanges,
  type StateChange,
  type StoreSink,
  WRITE_SET_VERSION,
  type WriteSet,
  WriteSetBuilder,
  type WriteSetFrame,
  writeSetEvents,
  writeSetRows,
} from './write-set.ts';
