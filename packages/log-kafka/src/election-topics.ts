import type { TopicProfile } from './topic-settings.ts';

const MIB = 1024 * 1024;
/** Only whole closed segments are deleted or compacted. */
const SEGMENT_BYTES = 16 * MIB;
const SEGMENT_MS = 600_000;
const RETENTION_MS = 3_600_000;
/** Of the votes' topic: what an hour of many linearizable reads could write. */
const RETENTION_BYTES = 64 * MIB;

/** Largest frame of messages, bytes. */
export const FRAME_BYTES_MAX: number = MIB;

/**
 * Nothing of a member rests on these records: the raft core takes each message as one that may be lost, doubled or late. So one broker
 * that is left is enough (min.insync.replicas 1), and one that missed some records may lead.
 */
const COMMON_INITIAL: Readonly<Record<string, string>> = {
  'segment.bytes': String(SEGMENT_BYTES),
  'segment.ms': String(SEGMENT_MS),
  'unclean.leader.election.enable': 'true',
};

/** With CreateTime a broker refuses records of a member whose clock is off. */
const COMMON_EXACT: Readonly<Record<string, string>> = {
  'message.timestamp.type': 'LogAppendTime',
};

const NEEDED: TopicProfile['needed'] = ['Describe', 'DescribeConfigs', 'Read', 'Write'];

/** Of `raft-vote`: votes and every answer. Read once, by whoever runs now. */
export const VOTE_PROFILE: TopicProfile = {
  exact: { ...COMMON_EXACT, 'cleanup.policy': 'delete' },
  initial: {
    ...COMMON_INITIAL,
    'retention.ms': String(RETENTION_MS),
    'retention.bytes': String(RETENTION_BYTES),
  },
  inSyncMin: 1,
  needed: NEEDED,
};

/** Of `raft-leader`: what leaders say, keyed by member; Kafka keeps the last of each. */
export const LEADER_PROFILE: TopicProfile = {
  exact: { ...COMMON_EXACT, 'cleanup.policy': 'compact' },
  initial: { ...COMMON_INITIAL, 'min.cleanable.dirty.ratio': '0.1' },
  inSyncMin: 1,
  needed: NEEDED,
};
