import { setTimeout as pause } from 'node:timers/promises';
import kafkajs from 'kafkajs';

/** The administrator's view of the test's Kafka, besides kvd: who leads what, topics made by hand. */
export class KafkaTopics {
  readonly #admin: ReturnType<kafkajs.Kafka['admin']>;

  private constructor(admin: ReturnType<kafkajs.Kafka['admin']>) {
    this.#admin = admin;
  }

  static async connect(brokers: readonly string[]): Promise<KafkaTopics> {
    const kafka = new kafkajs.Kafka({
      brokers: [...brokers],
      clientId: 'kvorum-e2e',
      logLevel: kafkajs.logLevel.NOTHING,
    });
    const admin = kafka.admin();
    await admin.connect();
    return new KafkaTopics(admin);
  }

  /** Topics that start with `prefix`, and the broker that leads each. */
  async leaders(prefix: string): Promise<ReadonlyMap<string, number>> {
    const names = (await this.#admin.listTopics()).filter((name) => name.startsWith(prefix));
    const { topics } = await this.#admin.fetchTopicMetadata({ topics: names });
    return new Map(topics.map(({ name, partitions }) => [name, partitions[0]?.leader ?? -1]));
  }

  /** The broker that leads a topic; undefined while none does. Asks about this topic alone: another one may be without a leader. */
  async leaderOf(topic: string): Promise<number | undefined> {
    try {
      const { topics } = await this.#admin.fetchTopicMetadata({ topics: [topic] });
      const leader = topics[0]?.partitions[0]?.leader ?? -1;
      return leader < 0 ? undefined : leader;
    } catch {
      return undefined; // kafkajs takes a missing leader for an error
    }
  }

  /** One topic; `settings` over what kvd would ask for. */
  async create(
    topic: string,
    layout: { readonly partitions?: number; readonly replicas?: number },
    settings: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const configEntries = Object.entries({ ...SAFE, ...settings }).map(([name, value]) => ({
      name,
      value,
    }));
    const numPartitions = layout.partitions ?? 1;
    const replicationFactor = layout.replicas ?? 3;
    await this.#admin.createTopics({
      topics: [{ topic, numPartitions, replicationFactor, configEntries }],
      waitForLeaders: true,
    });
  }

  /** Changes some settings of a topic; answers what its own settings were, to put them back with another call. */
  async alter(
    topic: string,
    changes: Readonly<Record<string, string>>,
  ): Promise<Readonly<Record<string, string>>> {
    const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic };
    const { resources } = await this.#admin.describeConfigs({
      includeSynonyms: false,
      resources: [resource],
    });
    const own = (resources[0]?.configEntries ?? []).filter(
      ({ configSource }) => configSource === kafkajs.ConfigSource.TOPIC_CONFIG,
    );
    const before = Object.fromEntries(own.map((one) => [one.configName, one.configValue]));
    // The request replaces all of a topic's own settings: what it does not name is at its default afterwards.
    const configEntries = Object.entries({ ...before, ...changes }).map(([name, value]) => ({
      name,
      value,
    }));
    await this.#admin.alterConfigs({
      validateOnly: false,
      resources: [{ ...resource, configEntries }],
    });
    return before;
  }

  /** Topics whose name matches. */
  async named(names: RegExp): Promise<string[]> {
    return (await this.#admin.listTopics()).filter((name) => names.test(name));
  }

  /** Deletes every topic whose name matches; resolves when the brokers have forgotten them. */
  async delete(names: RegExp): Promise<void> {
    const topics = await this.named(names);
    if (topics.length > 0) await this.#admin.deleteTopics({ topics });
    while ((await this.named(names)).length > 0) await pause(100);
  }

  /** One topic with just these settings, `name=value` each. */
  async createAs(
    topic: string,
    layout: { readonly partitions: number; readonly replicas: number },
    settings: readonly string[],
  ): Promise<void> {
    const configEntries = settings.map((setting) => {
      const [name = '', value = ''] = setting.split('=');
      return { name, value };
    });
    const { partitions: numPartitions, replicas: replicationFactor } = layout;
    await this.#admin
      .createTopics({ topics: [{ topic, numPartitions, replicationFactor, configEntries }] })
      .catch((error: unknown) => {
        // It is made, but not every broker has heard of it.
        if (!(error instanceof kafkajs.KafkaJSProtocolError)) throw error;
      });
    while ((await this.leaderOf(topic)) === undefined) await pause(100);
  }

  /** Deletes a topic with all its records, and makes one of its name. */
  async recreate(topic: string): Promise<void> {
    await this.#admin.deleteTopics({ topics: [topic] });
    // Brokers forget the old one, and hear of the new one, a moment later.
    const isThere = async (): Promise<boolean> => (await this.#admin.listTopics()).includes(topic);
    while (await isThere()) await pause(100);
    await this.create(topic, {}).catch((error: unknown) => {
      if (!(error instanceof kafkajs.KafkaJSProtocolError)) throw error;
    });
    while ((await this.leaderOf(topic)) === undefined) await pause(100);
  }

  /** The number of records in a topic. */
  async end(topic: string): Promise<number> {
    const [only] = await this.#admin.fetchTopicOffsets(topic);
    return Number(only?.high ?? 0);
  }

  async close(): Promise<void> {
    await this.#admin.disconnect();
  }
}

const SAFE: Readonly<Record<string, string>> = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'unclean.leader.election.enable': 'false',
  'message.timestamp.type': 'LogAppendTime',
  'compression.type': 'producer',
  'min.insync.replicas': '2',
  'max.message.bytes': '5000000',
};
