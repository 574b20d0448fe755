import type { DescribeConfigsAnswer, TopicMetadata } from './kafka-api.ts';
import { RECORD_OVERHEAD_BYTES } from './produce-request.ts';
import type { AclSubject, Operation } from './topic-rights.ts';

const MIB = 1024 * 1024;
/** Kafka's default of 1 GiB would free nothing for a long time: only whole closed segments are deleted. */
const SEGMENT_BYTES = 128 * MIB;
const REPLICAS_MIN = 3;

/** What a kind of topic is for, as settings. */
export interface TopicProfile {
  /** Settings that must have exactly this value, whatever their source. */
  readonly exact: Readonly<Record<string, string>>;
  /** Set when a member creates the topic, and not looked at afterwards. */
  readonly initial: Readonly<Record<string, string>>;
  /** Least `min.insync.replicas`; with 1 any value will do. */
  readonly inSyncMin: number;
  /** What a member does with a topic that exists. */
  readonly needed: readonly Operation[];
}

/** What topics must be like, and what the commands in the messages need. */
export interface TopicRules extends AclSubject {
  readonly profile: TopicProfile;
  /** Development: any replication factor and min.insync.replicas will do. */
  readonly dev: boolean;
  readonly recordBytesMax: number;
}

/** A topic as the CreateTopics request takes it. */
export interface NewTopic {
  readonly topic: string;
  readonly numPartitions: number;
  readonly replicationFactor: number;
  readonly configEntries: readonly { readonly name: string; readonly value: string }[];
}

/** What a topic is created with on a cluster of `brokerCount` brokers. */
export function newTopic(topic: string, rules: TopicRules, brokerCount: number): NewTopic {
  const replicas = rules.dev ? Math.min(REPLICAS_MIN, Math.max(1, brokerCount)) : REPLICAS_MIN;
  const { exact, initial, inSyncMin } = rules.profile;
  const settings: Readonly<Record<string, string | number>> = {
    ...initial,
    ...exact,
    'min.insync.replicas': Math.min(inSyncMin, Math.max(1, replicas - 1)),
    'max.message.bytes': maxMessageBytes(rules),
  };
  return {
    topic,
    numPartitions: 1,
    replicationFactor: replicas,
    configEntries: Object.entries(settings).map(([name, value]) => ({ name, value: `${value}` })),
  };
}

/** Of a shard's log: every record counts, and only members delete any. */
export const LOG_PROFILE: TopicProfile = {
  exact: {
    // Compaction would drop records, retention would drop the log behind the snapshots' back.
    'cleanup.policy': 'delete',
    'retention.ms': '-1',
    'retention.bytes': '-1',
    // A replica that missed acknowledged records must not become the leader.
    'unclean.leader.election.enable': 'false',
    // With CreateTime a broker refuses records of a member whose clock is off.
    'message.timestamp.type': 'LogAppendTime',
    // Anything else makes brokers recompress what is packed already.
    'compression.type': 'producer',
  },
  initial: { 'segment.bytes': String(SEGMENT_BYTES) },
  inSyncMin: 2,
  needed: ['Describe', 'DescribeConfigs', 'Read', 'Write', 'Delete'],
};

function maxMessageBytes({ recordBytesMax }: TopicRules): number {
  return recordBytesMax + RECORD_OVERHEAD_BYTES;
}

/** Each unsafe setting: what was found, what is needed, and the command that mends it. Empty when all is well. */
export function topicProblems(
  metadata: TopicMetadata,
  description: DescribeConfigsAnswer['resources'][number],
  rules: TopicRules,
): readonly string[] {
  const settings = new Map(
    description.configEntries.map(({ configName, configValue }) => [configName, configValue]),
  );
  const problems: string[] = [];
  const report = (setting: string, needed: string, fixedBy: string): void => {
    const found = settings.get(setting) ?? 'not set';
    const name = metadata.topic;
    const fix = alterCommand(name, `${setting}=${fixedBy}`, rules);
    problems.push(`${setting} is ${found}, must be ${needed}; fix: ${fix}`);
  };
  problems.push(...layoutProblems(metadata, rules));
  for (const [setting, value] of Object.entries(rules.profile.exact)) {
    if (settings.get(setting) !== value) report(setting, value, value);
  }
  const isBelow = (setting: string, least: number): boolean =>
    !(Number(settings.get(setting)) >= least);
  const { inSyncMin } = rules.profile;
  if (!rules.dev && isBelow('min.insync.replicas', inSyncMin)) {
    report('min.insync.replicas', `at least ${inSyncMin}`, `${inSyncMin}`);
  }
  const bytes = maxMessageBytes(rules);
  if (isBelow('max.message.bytes', bytes)) {
    report('max.message.bytes', `at least ${bytes}`, `${bytes}`);
  }
  return problems;
}

function layoutProblems(metadata: TopicMetadata, rules: TopicRules): readonly string[] {
  const { topic, partitionMetadata } = metadata;
  const problems: string[] = [];
  if (partitionMetadata.length !== 1) {
    problems.push(
      `it has ${partitionMetadata.length} partitions, must have exactly 1; a topic cannot lose partitions, so while it holds ` +
        `nothing you need: kafka-topics.sh --bootstrap-server ${rules.bootstrap} --delete --topic ${topic}`,
    );
  }
  const replicas = partitionMetadata[0]?.replicas ?? [];
  if (!rules.dev && replicas.length < REPLICAS_MIN) {
    problems.push(
      `its replication factor is ${replicas.length}, must be at least ${REPLICAS_MIN}; fix: ${reassignCommand(topic, replicas, rules)}`,
    );
  }
  return problems;
}

function alterCommand(topic: string, setting: string, { bootstrap }: TopicRules): string {
  return (
    `kafka-configs.sh --bootstrap-server ${bootstrap} --alter --entity-type topics ` +
    `--entity-name ${topic} --add-config ${setting}`
  );
}

/** Kafka has no "set the replication factor": the replicas are listed, the present ones first. */
function reassignCommand(
  topic: string,
  replicas: readonly number[],
  { bootstrap }: TopicRules,
): string {
  const present = replicas.join(',');
  const list = present === '' ? '<broker ids>' : `${present},<more broker ids>`;
  const plan = `{"version":1,"partitions":[{"topic":"${topic}","partition":0,"replicas":[${list}]}]}`;
  return (
    `echo '${plan}' > plan.json && kafka-reassign-partitions.sh ` +
    `--bootstrap-server ${bootstrap} --reassignment-json-file plan.json --execute`
  );
}
