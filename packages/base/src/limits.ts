const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * A full session table gives up sessions that have been idle for so long, and none is given up sooner: until then a repeated
 * write is recognised. A constant and no limit: whoever leads decides by it what all replicas store, and clients rely on it.
 */
export const SESSION_EVICTABLE_IDLE_MS = 60_000;

/**
 * A client repeats one write of its session for so long at most, counted from the first attempt that may have been applied. The
 * rest up to SESSION_EVICTABLE_IDLE_MS is room for clocks that run at different speeds and for frames that wait on their way.
 */
export const SESSION_RETRY_MS_MAX = 30_000;

/**
 * Every bound of the system, in one place; the unit is in the name. Defaults of DESIGN §9. A server's configuration may
 * override them (section `limits`), so code takes a `Limits` value instead of importing the defaults.
 */
export interface Limits {
  readonly requestBytesMax: number;
  readonly rangeBytesMax: number;
  readonly txnOpsMax: number;
  readonly txnDepthMax: number;
  readonly recordBytesTarget: number;
  readonly recordBytesMax: number;
  readonly batchCommandsMax: number;
  readonly batchGatherMs: number;
  readonly shardQueueBytesMax: number;
  readonly shardQueueCommandsMax: number;
  readonly readQueueMax: number;
  readonly watchBufferBytesMax: number;
  readonly watchProgressMs: number;
  readonly watchersPerStreamMax: number;
  readonly watchersPerReplicaMax: number;
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  readonly connectionInflightMax: number;
  readonly connectionSendBufferBytesMax: number;
  readonly connectionUnreadBytesMax: number;
  readonly connectionUnreadMsMax: number;
  readonly clientBytesMax: number;
  readonly quotaBytes: number;
  readonly sessionsPerShardMax: number;
  readonly sessionResultBytesMax: number;
  readonly sessionIdleMsMax: number;
  readonly leasesMax: number;
  readonly leaseSecondsMin: number;
  readonly leaseSecondsMax: number;
  readonly heartbeatMs: number;
  readonly electionMsMin: number;
  readonly electionMsMax: number;
  readonly requestTimeoutMs: number;
  readonly transferHoldMs: number;
  readonly logReadBytesMax: number;
  readonly logPollMs: number;
  readonly followPauseMs: number;
  readonly applyBacklogBytesMax: number;
  readonly applyRunBytesTarget: number;
  readonly learnerLagRecordsMax: number;
  readonly durableMs: number;
  readonly durableBytes: number;
  readonly truncateMs: number;
  readonly truncateSlackRecords: number;
  readonly truncateSlackBytes: number;
  readonly truncateSlackMs: number;
  readonly compactionPercent: number;
  readonly snapshotChunkBytes: number;
  readonly snapshotBytesPerSecond: number;
  readonly snapshotSendsMax: number;
  readonly snapshotIdleMs: number;
  readonly shardsMax: number;
  readonly slotMoveBytesPerSecond: number;
  readonly slotHandOverMsAim: number;
  readonly slotHandOverMsMax: number;
  readonly peerFrameBytesMax: number;
  readonly peerQueueBytesMax: number;
  readonly peerQueueMessagesMax: number;
  readonly peerRequestsMax: number;
}

export const DEFAULT_LIMITS: Limits = {
  requestBytesMax: 1.5 * MIB,
  rangeBytesMax: 64 * MIB,
  txnOpsMax: 128,
  txnDepthMax: 8,
  recordBytesTarget: 512 * KIB,
  recordBytesMax: 4 * MIB,
  batchCommandsMax: 8192,
  batchGatherMs: 5,
  shardQueueBytesMax: 16 * MIB,
  shardQueueCommandsMax: 65_536,
  readQueueMax: 65_536,
  watchBufferBytesMax: 8 * MIB,
  watchProgressMs: 600_000,
  watchersPerStreamMax: 10_000,
  watchersPerReplicaMax: 100_000,
  connectionsMax: 20_000,
  connectionsPerAddressMax: 15_000,
  connectionInflightMax: 32_768,
  connectionSendBufferBytesMax: 32 * MIB,
  connectionUnreadBytesMax: 256 * MIB,
  connectionUnreadMsMax: 10_000,
  clientBytesMax: 512 * MIB,
  quotaBytes: 8 * 1024 * MIB,
  sessionsPerShardMax: 10_000,
  sessionResultBytesMax: 64 * KIB,
  sessionIdleMsMax: 600_000,
  leasesMax: 1_000_000,
  leaseSecondsMin: 2,
  leaseSecondsMax: 9_000_000_000,
  heartbeatMs: 100,
  electionMsMin: 1000,
  electionMsMax: 2000,
  requestTimeoutMs: 7000,
  transferHoldMs: 600_000,
  logReadBytesMax: 8 * MIB,
  logPollMs: 500,
  followPauseMs: 25,
  applyBacklogBytesMax: 16 * MIB,
  applyRunBytesTarget: 2 * MIB,
  learnerLagRecordsMax: 256,
  durableMs: 5000,
  durableBytes: 16 * MIB,
  truncateMs: 10_000,
  truncateSlackRecords: 10_000,
  truncateSlackBytes: 64 * MIB,
  truncateSlackMs: 600_000,
  compactionPercent: 25,
  snapshotChunkBytes: MIB,
  snapshotBytesPerSecond: 16 * MIB,
  snapshotSendsMax: 2,
  snapshotIdleMs: 30_000,
  shardsMax: 1024,
  slotMoveBytesPerSecond: 32 * MIB,
  slotHandOverMsAim: 800,
  slotHandOverMsMax: 6000,
  peerFrameBytesMax: 16 * MIB,
  peerQueueBytesMax: 32 * MIB,
  peerQueueMessagesMax: 16_384,
  peerRequestsMax: 16_384,
};
