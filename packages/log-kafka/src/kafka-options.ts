import type { KafkaConfig, SASLOptions } from 'kafkajs';
import type { ConnectionOptions, KafkaLogger } from './broker-connection.ts';

/** How a member reaches Kafka. */
export interface KafkaOptions {
  /** Some brokers of the cluster, `host:port`; the others are found through them. */
  readonly brokers: readonly string[];
  /** Shown in Kafka's logs and quotas. */
  readonly clientId: string;
  /** TLS: true, or Node's TLS options (`ca`, `cert`, `key`, …). */
  readonly ssl?: KafkaConfig['ssl'];
  /** As kafkajs takes it: mechanism `plain`, `scram-sha-256`, `scram-sha-512`, `oauthbearer`, `aws`. */
  readonly sasl?: SASLOptions;
  /** Accepts topics with fewer replicas than 3 and any min.insync.replicas. Nothing else becomes laxer. */
  readonly dev?: boolean;
  /** Default 1000. */
  readonly connectTimeoutMs?: number;
  /** Of every request but produce and long polls. Default 2000. */
  readonly requestTimeoutMs?: number;
  /** Makes the socket to a broker, for proxies; default TCP, or TLS with `ssl`. */
  readonly socketFactory?: KafkaConfig['socketFactory'];
  readonly logger?: KafkaLogger;
}

export function connectionOptions(options: KafkaOptions): ConnectionOptions {
  return {
    clientId: options.clientId,
    ssl: options.ssl,
    sasl: options.sasl,
    socketFactory: options.socketFactory,
    connectTimeoutMs: options.connectTimeoutMs ?? 1000,
    requestTimeoutMs: options.requestTimeoutMs ?? 2000,
    logger: options.logger,
  };
}

/** Kafka's name of the user; undefined when only Kafka knows. */
export function saslUser({ sasl }: KafkaOptions): string | undefined {
  return sasl !== undefined && 'username' in sasl ? sasl.username : undefined;
}
