export { assert, InvariantError, unreachable } from './assert.ts';
export { fromBase64 } from './base64.ts';
export {
  compareBytes,
  concatBytes,
  copyBytes,
  EMPTY_BYTES,
  equalBytes,
  fromHex,
  fromUtf8,
  inRange,
  isOpenEnd,
  prefixEnd,
  RANGE_END_OPEN,
  toHex,
  tryUtf8,
  utf8,
} from './bytes.ts';
export { crc32c } from './crc32c.ts';
export {
  ERROR_TABLE,
  type ErrorCode,
  type ErrorSpec,
  errorSpec,
  isErrorCode,
  type Outcome,
  type Retry,
} from './error-table.ts';
export {
  type Branded,
  type ClusterId,
  clusterId,
  formatId,
  isShardId,
  type LeaderId,
  type LeaseId,
  type LogIndex,
  type LogOffset,
  leaderId,
  leaderMember,
  leaseId,
  leaseIdOf,
  logIndex,
  logOffset,
  logTopic,
  META_SHARD,
  type MemberId,
  memberId,
  NO_LEASE,
  type Revision,
  revision,
  type ShardId,
  shardId,
  type Term,
  term,
} from './ids.ts';
export type {
  CompactRequest,
  CompactResponse,
  Compare,
  CompareResult,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  KvRequest,
  KvResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  SessionTag,
  SortOrder,
  SortTarget,
  TxnOp,
  TxnOpResponse,
  TxnRequest,
  TxnResponse,
  WatchEvent,
  WatchFilter,
  WatchRequest,
  WriteRequest,
} from './kv-api.ts';
export { type ErrorDetails, isKvError, KvError } from './kv-error.ts';
export {
  DEFAULT_LIMITS,
  type Limits,
  SESSION_EVICTABLE_IDLE_MS,
  SESSION_RETRY_MS_MAX,
} from './limits.ts';
export { ORIGIN_NAME_BYTES_MAX, type Origin, originOf } from './origin.ts';
export { partitionPoint } from './partition-point.ts';
export { isCount, isPlain, type Plain } from './plain.ts';
export { err, ok, type Result } from './result.ts';
