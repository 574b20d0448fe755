import { setTimeout as sleep } from 'node:timers/promises';
import { KvError } from '@kvorum/base';
import { BackOff } from './back-off.ts';
import {
  type BrokerAddress,
  BrokerConnection,
  type ConnectionOptions,
} from './broker-connection.ts';
import { firstAnswer } from './first-answer.ts';
import type { MetadataAnswer, TopicMetadata } from './kafka-api.ts';
import { reasonOf } from './kafka-errors.ts';
import { explainRefusal, type Failure } from './refusal.ts';

/** How long one broker may hesitate before another is asked too. */
const HEDGE_MS = 300;
const NO_LEADER = -1;

export interface PartitionLeader extends BrokerAddress {
  readonly id: number;
}

/** What this member knows of the Kafka cluster: its brokers and who leads which topic. */
export class ClusterView {
  readonly #seeds: readonly BrokerAddress[];
  readonly #options: ConnectionOptions;
  readonly #topics = new Set<string>();
  readonly #brokers = new Map<number, PartitionLeader>();
  readonly #metadata = new Map<string, TopicMetadata>();
  /** Topics whose leader did not behave like one; metadata fetched before does not count. */
  readonly #suspects = new Set<string>();
  readonly #connections = new Map<string, Promise<BrokerConnection>>();
  readonly #backOff = new BackOff();
  #controllerId = NO_LEADER;
  /** Of the last refresh; empty once one succeeded. */
  #failures: readonly Failure[] = [];
  #refreshing: Promise<void> | undefined;
  #isClosed = false;

  constructor(brokers: readonly string[], options: ConnectionOptions) {
    this.#seeds = brokers.map(parseAddress);
    this.#options = options;
  }

  get brokerCount(): number {
    return this.#brokers.size;
  }

  /** Keeps the topic in every later metadata request. */
  track(topic: string): void {
    this.#topics.add(topic);
  }

  forget(topic: string): void {
    this.#topics.delete(topic);
    this.#metadata.delete(topic);
  }

  topic(topic: string): TopicMetadata | undefined {
    return this.#metadata.get(topic);
  }

  /** The broker that leads partition 0; undefined when nobody does, or when that one is suspected. */
  leaderOf(topic: string): PartitionLeader | undefined {
    if (this.#suspects.has(topic)) return undefined;
    const partition = this.#metadata
      .get(topic)
      ?.partitionMetadata.find(({ partitionId }) => partitionId === 0);
    return partition === undefined ? undefined : this.#brokers.get(partition.leader);
  }

  /** The leader's answers are not a leader's, or it gives none: it counts again after the next refresh. */
  suspect(topic: string): void {
    this.#suspects.add(topic);
  }

  /**
   * Fetches metadata; calls at the same time share one request, calls in quick succession are spaced out.
   * Throws KV_LOG_UNAVAILABLE when no broker answers.
   */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** A connection for occasional requests to this broker, shared by everybody here. */
  connection(address: BrokerAddress): Promise<BrokerConnection> {
    const key = `${address.host}:${address.port}`;
    const known = this.#connections.get(key) ?? this.#connect(key, address);
    return known.then((connection) => {
      if (connection.isOpen) return connection;
      // Another caller may have replaced it already.
      const current = this.#connections.get(key);
      return current === undefined || current === known ? this.#connect(key, address) : current;
    });
  }

  /** Closes the shared connection to a broker that failed to answer on it. */
  async drop(address: BrokerAddress): Promise<void> {
    const key = `${address.host}:${address.port}`;
    const known = this.#connections.get(key);
    this.#connections.delete(key);
    await known?.then(
      (connection) => connection.destroy(),
      () => undefined,
    );
  }

  /** After a refresh that failed: why no broker lets this member in, if only another configuration helps (KV_CONFIG). */
  explain(): Promise<KvError | undefined> {
    return explainRefusal(this.#failures, this.#options);
  }

  controller(): PartitionLeader | undefined {
    return this.#brokers.get(this.#controllerId);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    const opened = await Promise.allSettled(connections);
    for (const one of opened) if (one.status === 'fulfilled') one.value.destroy();
  }

  async #refresh(): Promise<void> {
    const pauseMs = this.#backOff.nextMs(performance.now());
    if (pauseMs > 0) await sleep(pauseMs);
    if (this.#isClosed) throw new KvError('KV_STOPPED', 'the logs are closed');
    const suspectsBefore = [...this.#suspects];
    const failures: Failure[] = [];
    const ask = (broker: BrokerAddress): Promise<MetadataAnswer> =>
      this.#ask(broker).catch((error: unknown) => {
        failures.push({ broker, error });
        throw error;
      });
    let answer: MetadataAnswer;
    try {
      answer = await firstAnswer(this.#candidates(), HEDGE_MS, ask);
      this.#failures = [];
    } catch (cause) {
      this.#failures = failures;
      const list = this.#seeds.map(({ host, port }) => `${host}:${port}`).join(', ');
      throw new KvError(
        'KV_LOG_UNAVAILABLE',
        `none of the Kafka brokers ${list} answers (${reasonOf(cause)})`,
        {
          cause,
          details: { hint: 'check log.brokers, the network and the TLS and SASL settings' },
        },
      );
    }
    this.#take(answer);
    for (const topic of suspectsBefore) this.#suspects.delete(topic);
  }

  /** Every broker known, in changing order so that one with old metadata does not keep us, then the configured list. */
  #candidates(): readonly BrokerAddress[] {
    const known = [...this.#brokers.values()];
    this.#turn += 1;
    const turned = known.map((_, i) => known[(i + this.#turn) % known.length] as BrokerAddress);
    const seeds = this.#seeds.filter(
      ({ host, port }) => !known.some((broker) => broker.host === host && broker.port === port),
    );
    return [...turned, ...seeds];
  }

  #turn = 0;

  async #ask(broker: BrokerAddress): Promise<MetadataAnswer> {
    try {
      const connection = await this.connection(broker);
      const topics = [...this.#topics];
      return await connection.call('Metadata', { topics, allowAutoTopicCreation: false });
    } catch (error) {
      await this.drop(broker);
      throw error;
    }
  }

  #take(answer: MetadataAnswer): void {
    this.#brokers.clear();
    for (const { nodeId: id, host, port } of answer.brokers) {
      this.#brokers.set(id, { id, host, port });
    }
    this.#controllerId = answer.controllerId;
    for (const topic of answer.topicMetadata) {
      if (this.#topics.has(topic.topic)) this.#metadata.set(topic.topic, topic);
    }
  }

  #connect(key: string, address: BrokerAddress): Promise<BrokerConnection> {
    if (this.#isClosed) return Promise.reject(new KvError('KV_STOPPED', 'the logs are closed'));
    const connecting = BrokerConnection.open(address, this.#options);
    this.#connections.set(key, connecting);
    connecting.catch(() => {
      if (this.#connections.get(key) === connecting) this.#connections.delete(key);
    });
    return connecting;
  }
}

/** `host:port`, also `[v6]:port`. Throws KV_CONFIG. */
function parseAddress(text: string): BrokerAddress {
  const match = /^\[?([^\]\s]+?)\]?:(\d+)$/.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port < 1 || port > 65_535) {
    throw new KvError('KV_CONFIG', `Kafka broker "${text}" is not of the form host:port`);
  }
  return { host: match[1], port };
}
