import { DEFAULT_LIMITS, KvError, type Limits, logTopic } from '@kvorum/base';
import type { LogName, LogSpec, SharedLog, SharedLogs } from '@kvorum/ports';
import type { ConnectionOptions } from './broker-connection.ts';
import { ClusterView } from './cluster-view.ts';
import { Fetcher } from './fetcher.ts';
import { KafkaLog } from './kafka-log.ts';
import { connectionOptions, type KafkaOptions, saslUser } from './kafka-options.ts';
import { RECORD_OVERHEAD_BYTES } from './produce-request.ts';
import { TopicAdmin } from './topic-admin.ts';
import { LOG_PROFILE } from './topic-settings.ts';

export interface KafkaLogsOptions extends KafkaOptions {
  /** Default `raft-log-`. */
  readonly topicPrefix?: string;
  readonly limits?: Pick<Limits, 'recordBytesMax' | 'logReadBytesMax' | 'logPollMs'>;
  /** How long the partition's leader may wait for its replicas; a leader that is dead is noticed 0.5 s later. Default 2000. */
  readonly produceTimeoutMs?: number;
}

const DEFAULT_PREFIX = 'raft-log-';

/**
 * The logs of one member on Kafka topics. Connects when the first log is opened.
 * Errors: KV_CONFIG for a broker that is not `host:port`.
 */
export function openKafkaLogs(options: KafkaLogsOptions): SharedLogs {
  return new KafkaLogs(options);
}

class KafkaLogs implements SharedLogs {
  readonly #options: KafkaLogsOptions;
  readonly #limits: Pick<Limits, 'recordBytesMax' | 'logReadBytesMax' | 'logPollMs'>;
  readonly #connection: ConnectionOptions;
  readonly #view: ClusterView;
  readonly #fetcher: Fetcher;
  readonly #admin: TopicAdmin;
  readonly #open = new Set<KafkaLog>();
  #isClosed = false;

  constructor(options: KafkaLogsOptions) {
    if (options.brokers.length === 0) throw new KvError('KV_CONFIG', 'log.brokers is empty');
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#connection = connectionOptions(options);
    const { recordBytesMax, logReadBytesMax, logPollMs } = this.#limits;
    this.#view = new ClusterView(options.brokers, this.#connection);
    this.#fetcher = new Fetcher(this.#view, {
      connection: this.#connection,
      pollMs: logPollMs,
      bytesMax: Math.max(logReadBytesMax, recordBytesMax + RECORD_OVERHEAD_BYTES),
      topicBytesMax: recordBytesMax + RECORD_OVERHEAD_BYTES,
    });
    this.#admin = new TopicAdmin(this.#view, {
      profile: LOG_PROFILE,
      dev: options.dev ?? false,
      recordBytesMax,
      bootstrap: options.brokers.join(','),
      user: saslUser(options),
      topicPrefix: options.topicPrefix ?? DEFAULT_PREFIX,
    });
  }

  async open(spec: LogSpec, options: { readonly create: boolean }): Promise<SharedLog> {
    if (this.#isClosed) throw new KvError('KV_STOPPED', 'the logs are closed');
    const topic = logTopic(
      this.#options.topicPrefix ?? DEFAULT_PREFIX,
      spec.shard,
      spec.generation,
    );
    try {
      await this.#admin.ensure(topic, options.create);
    } catch (error) {
      if (![...this.#open].some(({ name }) => name === topic)) this.#view.forget(topic);
      throw error;
    }
    const log = new KafkaLog({
      topic,
      view: this.#view,
      fetcher: this.#fetcher,
      connection: this.#connection,
      limits: this.#limits,
      produceTimeoutMs: this.#options.produceTimeoutMs ?? 2000,
      logger: this.#options.logger,
      onClose: (closed) => this.#forget(closed),
    });
    this.#open.add(log);
    return log;
  }

  /** Throws KV_LOG_UNAVAILABLE when Kafka cannot be asked now. */
  async verify(): Promise<readonly { readonly log: LogName; readonly problem: string }[]> {
    const found: { readonly log: LogName; readonly problem: string }[] = [];
    for (const log of new Set([...this.#open].map(({ name }) => name))) {
      for (const problem of await this.#admin.problems(log)) found.push({ log, problem });
    }
    return found;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#open].map((log) => log.close()));
    this.#fetcher.close();
    await this.#view.close();
  }

  #forget(log: KafkaLog): void {
    this.#open.delete(log);
    if (![...this.#open].some(({ name }) => name === log.name)) this.#view.forget(log.name);
  }
}
