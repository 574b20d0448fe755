import type { Limits } from '@kvorum/base';

/** What each limit means, for the schema and the documentation; the values come from base's DEFAULT_LIMITS. */
export const LIMIT_TEXT: Readonly<Partial<Record<keyof Limits, string>>> = {
  requestBytesMax: 'Largest client request, bytes.',
  rangeBytesMax:
    'Keys and values in the answer of one range, transaction or delete (`prevKv`), of one shard, bytes.',
  txnOpsMax: 'Most operations in one transaction.',
  txnDepthMax: 'Deepest nesting of transactions.',
  recordBytesTarget: 'A batch is sealed at about this many bytes.',
  recordBytesMax: 'Largest log record, bytes; the log must accept it.',
  batchCommandsMax: 'Most commands in one batch.',
  batchGatherMs:
    'Longest that a batch waits for the clients that were just answered, ms; never more than half of what a batch takes. 0: not at all.',
  shardQueueBytesMax: 'Bytes of commands waiting per shard before KV_TOO_MANY_REQUESTS.',
  shardQueueCommandsMax: 'Commands waiting per shard before KV_TOO_MANY_REQUESTS.',
  readQueueMax: 'Reads waiting per shard before KV_TOO_MANY_REQUESTS.',
  watchBufferBytesMax: 'Bytes of events held per watch before it continues from disk.',
  watchProgressMs:
    'How often a quiet watch of an etcd client that wants to know (progress_notify) is told how far it is, milliseconds. Sessions and SSE: every 10 s at least.',
  watchersPerStreamMax: 'Most watches of one client connection.',
  watchersPerReplicaMax: 'Most watches of one replica.',
  connectionsMax: 'Most client connections of a member.',
  connectionsPerAddressMax: 'Most client connections from one address.',
  connectionInflightMax: 'Most unanswered requests of one client connection.',
  connectionSendBufferBytesMax:
    'Bytes a client may leave unread for longer than connectionUnreadMsMax before it is disconnected.',
  connectionUnreadBytesMax: 'Bytes a client may leave unread at all, however shortly.',
  connectionUnreadMsMax:
    'How long a client may leave more than connectionSendBufferBytesMax unread, milliseconds.',
  clientBytesMax:
    'Bytes that the requests, watches and unread answers of all clients may take; above it the client that takes most is cut.',
  quotaBytes: 'Most bytes on disk of a member; writes are refused above.',
  sessionsPerShardMax: 'Client sessions remembered per shard.',
  sessionResultBytesMax: 'Bytes of remembered results per client session.',
  sessionIdleMsMax: 'A session idle for so long is forgotten, milliseconds.',
  leasesMax: 'Leases of the cluster at once.',
  leaseSecondsMin: 'A lease asked for a shorter time lives so long, seconds.',
  leaseSecondsMax: 'Longest time to live of a lease, seconds.',
  heartbeatMs: 'Between two heartbeats of a leader, milliseconds. With `election: kafka` 500.',
  electionMsMin: 'Shortest election timeout, milliseconds. With `election: kafka` 5000.',
  electionMsMax: 'Longest election timeout, milliseconds. With `election: kafka` 10000.',
  requestTimeoutMs: 'Deadline of a request that names none, milliseconds.',
  transferHoldMs:
    'How long a leadership moved by hand is not moved back for an even spread, milliseconds.',
  logReadBytesMax: 'Bytes asked of the log in one read.',
  logPollMs: 'Longest wait of one read of the log, milliseconds.',
  followPauseMs:
    'How long a follower lets records gather between two reads of the log while nobody waits for them; four times as long while little comes.',
  applyBacklogBytesMax:
    'Accepted records waiting to be applied above this stop the reading of the log, bytes.',
  applyRunBytesTarget:
    'Records that one write of a replica’s store takes while it catches up, bytes.',
  learnerLagRecordsMax: 'A learner so many records behind, or fewer, may become a voter.',
  durableMs:
    'How often a replica syncs its store, to know what the log need not keep for it; also `durableBytes`.',
  durableBytes:
    'Records applied since the last sync, in bytes, after which the next one comes early.',
  truncateMs: 'How often the leader of a shard looks whether its log can be truncated.',
  truncateSlackRecords:
    'Newest records that the log keeps whoever holds them. A record is deleted only when none of the three slacks wants it.',
  truncateSlackBytes: 'Newest part of the log that is kept whoever holds it, bytes.',
  truncateSlackMs:
    'Records younger than this are kept whoever holds them. A member that is away for less need not install a snapshot.',
  compactionPercent:
    'Most of its time that a member puts into the removal of compacted history while clients write, percent; when they do not, it goes on without a rest.',
  snapshotChunkBytes: 'Part of a snapshot that travels in one piece, bytes.',
  snapshotBytesPerSecond:
    'Most that a member takes in while it installs snapshots, of all its shards together, bytes a second. Giving and taking costs about 6 ms of CPU a megabyte.',
  snapshotSendsMax: 'Snapshots that one replica gives to others at a time.',
  snapshotIdleMs:
    'A snapshot that nobody has asked for a chunk of for so long is given up; the log is kept for its receiver as long again.',
  shardsMax: 'Most shards of a cluster.',
  slotMoveBytesPerSecond:
    'What a member copies and drops in a second while slots move, all its moves together.',
  slotHandOverMsAim:
    'For so long slots may be handed over, in which time nobody serves them; then it is tried later. From the fourth attempt of a move on for twice as long each time, up to slotHandOverMsMax.',
  slotHandOverMsMax: 'For so long slots may be handed over at most, in any attempt.',
  peerFrameBytesMax: 'Largest frame between members, bytes.',
  peerQueueBytesMax: 'Bytes waiting for one other member before messages are dropped.',
  peerQueueMessagesMax: 'Messages waiting for one other member before messages are dropped.',
  peerRequestsMax: 'Forwarded requests under way to one other member.',
};
