import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';

/** Names as in `kafka-acls.sh --operation`. */
const OPERATIONS = {
  Read: kafkajs.AclOperationTypes.READ,
  Write: kafkajs.AclOperationTypes.WRITE,
  Create: kafkajs.AclOperationTypes.CREATE,
  Delete: kafkajs.AclOperationTypes.DELETE,
  Describe: kafkajs.AclOperationTypes.DESCRIBE,
  DescribeConfigs: kafkajs.AclOperationTypes.DESCRIBE_CONFIGS,
} as const;

export type TopicOperation = keyof typeof OPERATIONS;

export interface TopicGrant {
  readonly user: string;
  readonly operations: readonly TopicOperation[];
  /** Of all topics whose names start so. */
  readonly topicPrefix: string;
}

const POLL_MS = 50;
const POLLS_MAX = 200;

/** Lets a user do this and waits until the asked broker goes by it; `brokers` are plain listeners, where everything is allowed. */
export async function allow(brokers: readonly string[], grant: TopicGrant): Promise<void> {
  const kafka = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
  const admin = kafka.admin();
  const common = {
    resourceType: kafkajs.AclResourceTypes.TOPIC,
    resourceName: grant.topicPrefix,
    resourcePatternType: kafkajs.ResourcePatternTypes.PREFIXED,
    principal: `User:${grant.user}`,
    host: '*',
    permissionType: kafkajs.AclPermissionTypes.ALLOW,
  };
  const operations = grant.operations.map((name) => OPERATIONS[name]);
  try {
    await admin.connect();
    await admin.createAcls({ acl: operations.map((operation) => ({ ...common, operation })) });
    for (let i = 0; i < POLLS_MAX; i += 1) {
      const known = await admin.describeAcls({
        ...common,
        operation: kafkajs.AclOperationTypes.ANY,
      });
      const acls = known.resources.flatMap((resource) => resource.acls);
      if (operations.every((wanted) => acls.some(({ operation }) => operation === wanted))) return;
      await sleep(POLL_MS);
    }
    throw new Error(`the broker does not know the rules of ${grant.user}`);
  } finally {
    await admin.disconnect();
  }
}
