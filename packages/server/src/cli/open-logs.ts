import { KvError } from '@kvorum/base';
import type { KafkaOptions } from '@kvorum/log-kafka';
import { openLocalLogs } from '@kvorum/log-local';
import type { SharedLogs } from '@kvorum/ports';
import { makeDirectory } from '@kvorum/snapshot-store';
import type { KvdConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';
import { isLeaders, type OpenElection } from '../member/election.ts';
import { readSecret } from '../setting-file.ts';
import { logTls } from './log-tls.ts';

export interface OpenedLogs {
  /** The logs as one more member of this process sees them. */
  readonly forMember: () => SharedLogs;
  /** For messages: the brokers or the directory. */
  readonly where: string;
  /** For `election: kafka`. */
  readonly openElection?: OpenElection;
  readonly close: () => Promise<void>;
}

function makeLogDirectory(directory: string): void {
  try {
    makeDirectory(directory);
  } catch (error) {
    throw new KvError('KV_DATA_DIR', `${directory}: ${(error as Error).message}`, {
      cause: error,
      details: { hint: 'make it a directory this user can write, or set another one' },
    });
  }
}

/**
 * Opens the shared log of the configuration. `directory` is where an embedded one lies.
 *
 * Errors: KV_DATA_DIR; KV_CONFIG for a file of the TLS or SASL settings that cannot be used.
 */
export async function openConfiguredLogs(
  config: KvdConfig,
  directory: string,
  logger: Logger,
): Promise<OpenedLogs> {
  const { log } = config;
  if (log.kind === 'local') {
    makeLogDirectory(directory);
    const local = await openLocalLogs({
      directory,
      limits: config.limits,
      topicPrefix: `${log.topicPrefix}raft-log-`,
    });
    return { forMember: () => local.forMember(), where: directory, close: () => local.close() };
  }
  const { sasl } = log;
  // Loaded only where it is used: the Kafka client costs memory and start time.
  const { openKafkaElection, openKafkaLogs } = await import('@kvorum/log-kafka');
  const kafka: KafkaOptions = {
    brokers: log.brokers,
    clientId: `kvd-${config.clusterName}-${config.name}`,
    ssl: logTls(log),
    ...(sasl === undefined
      ? {}
      : {
          sasl: {
            mechanism: sasl.mechanism,
            username: sasl.username,
            password: readSecret('log.sasl.passwordFile', sasl.passwordFile).trimEnd(),
          },
        }),
    dev: config.dev,
    logger: (level, message, fields) => logger[level](fields, message),
  };
  const logs = openKafkaLogs({
    ...kafka,
    topicPrefix: `${log.topicPrefix}raft-log-`,
    limits: config.limits,
  });
  const openElection: OpenElection = (identity) =>
    openKafkaElection({ ...kafka, ...identity, topicPrefix: `${log.topicPrefix}raft-`, isLeaders });
  return {
    forMember: () => logs,
    where: log.brokers.join(', '),
    ...(config.election === 'kafka' ? { openElection } : {}),
    close: () => logs.close(),
  };
}
