export {
  CLIENT_PROTOCOL_VERSION,
  type ClientFrame,
  FRAME,
  OP,
  packFrame,
  parseClientFrame,
  parseServerFrame,
  type RequestItem,
  type RequestsFrame,
  type ResponseItem,
  type ServerFrame,
  unpackFrame,
  type Welcome,
} from './client-frames.ts';
export {
  CONTROL_METHODS,
  type ControlMethod,
  type HashParams,
  type HealthStatus,
  type MemberInfo,
  type MemberStatus,
  type MoveInfo,
  parseHashParams,
  parseHealth,
  parseMemberStatus,
  parseMembers,
  parseMoves,
  parseReshardParams,
  parseShardHash,
  parseShards,
  parseTransferParams,
  type ReplicaInfo,
  type ReshardParams,
  type ShardHash,
  type ShardInfo,
  type TransferParams,
} from './control.ts';
export {
  type AddressedMessage,
  type Addressee,
  decodeElectionFrame,
  ELECTION_FRAME_VERSION,
  type ElectionFrame,
  type ElectionFrameError,
  encodeElectionFrame,
} from './election-frames.ts';
export {
  errorFromPlain,
  hasLease,
  type PlainError,
  parseKvRequest,
  plainError,
} from './kv-plain.ts';
export {
  type LogChange,
  type LogCursor,
  type LogPage,
  type LogParams,
  type LogRecordInfo,
  parseLogPage,
  parseLogParams,
} from './log-page.ts';
export {
  decodeLogRecord,
  encodeLogRecord,
  LOG_RECORD_HEADER_BYTES,
  LOG_RECORD_VERSION,
  type LogRecord,
  type LogRecordError,
  type LogRecordKind,
} from './log-record.ts';
export {
  MEMBER_CHANGE_KINDS,
  type MemberChanged,
  type MemberChangeKind,
  type MemberChangeParams,
  type MoveReplicaParams,
  parseMemberChange,
  parseMemberChanged,
  parseMoveReplica,
  type VotersPreview,
} from './member-control.ts';
export {
  encodePeerFrame,
  PEER_PROTOCOL_VERSION,
  PeerFrameDecoder,
  type PeerHello,
  type PeerItem,
  type PeerMessage,
} from './peer-frames.ts';
export {
  parseRecoverParams,
  parseRecoveryView,
  type RecoverParams,
  type RecoveryLossInfo,
  type RecoveryReplica,
  type RecoveryView,
} from './recovery-control.ts';
export {
  type Sha256,
  SNAPSHOT_FILE_VERSION,
  SNAPSHOT_FRAME_BYTES_MAX,
  SnapshotDecoder,
  SnapshotEncoder,
  type SnapshotPart,
  type SnapshotRow,
} from './snapshot-file.ts';
export type { SnapshotHeader, SnapshotPosition, SnapshotTrailer } from './snapshot-header.ts';
