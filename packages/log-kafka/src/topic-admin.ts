import { setTimeout as sleep } from 'node:timers/promises';
import { KvError } from '@kvorum/base';
import type { BrokerConnection } from './broker-connection.ts';
import type { ClusterView } from './cluster-view.ts';
import type { DescribeConfigsAnswer, TopicMetadata } from './kafka-api.ts';
import {
  CLUSTER_AUTHORIZATION_FAILED,
  errorName,
  LEADER_NOT_AVAILABLE,
  NO_ERROR,
  reasonOf,
  TOPIC_ALREADY_EXISTS,
  TOPIC_AUTHORIZATION_FAILED,
  UNKNOWN_TOPIC_OR_PARTITION,
} from './kafka-errors.ts';
import { lacksRights, missingRights, type Operation } from './topic-rights.ts';
import { newTopic, type TopicRules, topicProblems } from './topic-settings.ts';

const TOPIC_RESOURCE = 2;
/** A new topic has its leader within this time on a healthy cluster. */
const CREATED_MS = 10_000;
const POLL_MS = 50;
const CREATE_TIMEOUT_MS = 5000;
const ATTEMPTS = 3;
/** What metadata says of a topic whose creation has not reached every broker. */
const IN_THE_MAKING = new Set([NO_ERROR, LEADER_NOT_AVAILABLE, UNKNOWN_TOPIC_OR_PARTITION]);

interface Inspection {
  /** Some broker does not know the topic: gone, or not announced to it yet. */
  readonly missing: boolean;
  readonly problems: readonly string[];
}

/** Creates topics and checks their settings. */
export class TopicAdmin {
  readonly #view: ClusterView;
  readonly #rules: TopicRules;

  constructor(view: ClusterView, rules: TopicRules) {
    this.#view = view;
    this.#rules = rules;
  }

  /**
   * Returns once the topic exists, has a leader and safe settings.
   * Errors: KV_LOG_UNAVAILABLE; KV_CONFIG when the brokers refuse this configuration (log-in, TLS); KV_LOG_MISCONFIGURED when the topic does
   * not exist (without `create`), is not safe, or the user lacks a permission.
   */
  async ensure(topic: string, create: boolean): Promise<void> {
    this.#view.track(topic);
    try {
      await this.#view.refresh();
    } catch (error) {
      throw (await this.#view.explain()) ?? error;
    }
    if (isMissing(this.#view.topic(topic))) {
      if (!create) {
        throw new KvError('KV_LOG_MISCONFIGURED', `topic ${topic} does not exist in this Kafka`);
      }
      await this.#create(topic);
    }
    await this.#untilLed(topic);
    const problems = await this.#settledProblems(topic);
    if (problems.length === 0) return;
    throw new KvError(
      'KV_LOG_MISCONFIGURED',
      `topic ${topic}: ${problems.map((problem, i) => `(${i + 1}) ${problem}`).join('; ')}`,
      { details: { hint: 'run the commands above, or start with --dev where only replicas lack' } },
    );
  }

  /** What is unsafe about a topic now. Throws KV_LOG_UNAVAILABLE. */
  async problems(topic: string): Promise<readonly string[]> {
    return (await this.#inspect(topic)).problems;
  }

  /** A broker that has not heard of a new topic yet says that there is none: ask until all agree, or time is up. */
  async #settledProblems(topic: string): Promise<readonly string[]> {
    const deadlineMs = performance.now() + CREATED_MS;
    for (;;) {
      const { missing, problems } = await this.#inspect(topic);
      if (!missing || performance.now() > deadlineMs) return problems;
      await sleep(POLL_MS);
    }
  }

  async #inspect(topic: string): Promise<Inspection> {
    await this.#view.refresh();
    const metadata = this.#view.topic(topic);
    if (metadata === undefined || isMissing(metadata)) {
      return { missing: true, problems: ['the topic does not exist any more'] };
    }
    const description = await this.#describe(topic);
    const { errorCode } = description;
    const lacking = missingRights(await this.#rights(topic), this.#rules.profile.needed);
    const problems = lacking.length === 0 ? [] : [lacksRights(lacking, this.#rules)];
    if (errorCode === NO_ERROR) {
      problems.push(...topicProblems(metadata, description, this.#rules));
    } else if (errorCode !== TOPIC_AUTHORIZATION_FAILED) {
      problems.push(`its settings cannot be read: ${errorName(errorCode)}`);
    } else if (problems.length === 0) {
      problems.push(lacksRights(['DescribeConfigs'], this.#rules));
    }
    return { missing: errorCode === UNKNOWN_TOPIC_OR_PARTITION, problems };
  }

  async #create(topic: string): Promise<void> {
    const controller = this.#view.controller();
    const wanted = newTopic(topic, this.#rules, this.#view.brokerCount);
    const answer = await this.#attempt(async () => {
      const broker = controller ?? this.#view.leaderOf(topic);
      if (broker === undefined) throw new KvError('KV_LOG_UNAVAILABLE', 'Kafka has no controller');
      const connection = await this.#view.connection(broker);
      const payload = { topics: [wanted], validateOnly: false, timeout: CREATE_TIMEOUT_MS };
      return connection.call('CreateTopics', payload, CREATE_TIMEOUT_MS + 1000);
    });
    const failed = answer.topicErrors.find(({ errorCode }) => errorCode !== NO_ERROR);
    if (failed === undefined || failed.errorCode === TOPIC_ALREADY_EXISTS) return;
    if (isForbidden(failed.errorCode)) {
      const lacking = lacksRights(['Create'], this.#rules);
      const what = `topic ${topic} does not exist and cannot be created: ${lacking}`;
      throw new KvError('KV_LOG_MISCONFIGURED', what);
    }
    throw new KvError(
      'KV_LOG_MISCONFIGURED',
      `topic ${topic} cannot be created with ${wanted.replicationFactor} replicas on ` +
        `${this.#view.brokerCount} brokers: ${errorName(failed.errorCode)} ${failed.errorMessage ?? ''}`,
    );
  }

  async #untilLed(topic: string): Promise<void> {
    const deadlineMs = performance.now() + CREATED_MS;
    while (this.#view.leaderOf(topic) === undefined) {
      const code = this.#view.topic(topic)?.topicErrorCode ?? NO_ERROR;
      if (!IN_THE_MAKING.has(code)) {
        const what = isForbidden(code)
          ? lacksRights(this.#allRights(), this.#rules)
          : errorName(code);
        throw new KvError('KV_LOG_MISCONFIGURED', `topic ${topic}: ${what}`);
      }
      if (performance.now() > deadlineMs) {
        throw new KvError('KV_LOG_UNAVAILABLE', `topic ${topic} has no leader`);
      }
      await sleep(POLL_MS);
      await this.#view.refresh();
    }
  }

  async #describe(topic: string): Promise<DescribeConfigsAnswer['resources'][number]> {
    const resources = [{ type: TOPIC_RESOURCE, name: topic, configNames: [] }];
    const answer = await this.#attempt(async () => {
      const connection = await this.#someBroker(topic);
      return connection.call('DescribeConfigs', { resources, includeSynonyms: false });
    });
    const found = answer.resources.find(({ resourceName }) => resourceName === topic);
    if (found !== undefined) return found;
    throw new KvError('KV_LOG_UNAVAILABLE', `${topic}: an answer without its settings`);
  }

  /** What a member needs where it creates its topics. */
  #allRights(): readonly Operation[] {
    return ['Create', ...this.#rules.profile.needed];
  }

  #rights(topic: string): Promise<number | undefined> {
    return this.#attempt(async () => (await this.#someBroker(topic)).rights(topic));
  }

  async #someBroker(topic: string): Promise<BrokerConnection> {
    const broker = this.#view.leaderOf(topic) ?? this.#view.controller();
    if (broker === undefined) throw new KvError('KV_LOG_UNAVAILABLE', `${topic} has no leader`);
    return this.#view.connection(broker);
  }

  /** Reading settings and creating what may exist already are safe to repeat. */
  async #attempt<T>(request: () => Promise<T>): Promise<T> {
    for (let left = ATTEMPTS; ; left -= 1) {
      try {
        return await request();
      } catch (cause) {
        if (left <= 1) throw new KvError('KV_LOG_UNAVAILABLE', reasonOf(cause), { cause });
        await this.#view.refresh();
      }
    }
  }
}

function isForbidden(errorCode: number): boolean {
  return errorCode === TOPIC_AUTHORIZATION_FAILED || errorCode === CLUSTER_AUTHORIZATION_FAILED;
}

function isMissing(metadata: TopicMetadata | undefined): boolean {
  return metadata === undefined || metadata.topicErrorCode === UNKNOWN_TOPIC_OR_PARTITION;
}
