import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { KvError } from '@kvorum/base';
import { openLocalLogs } from '@kvorum/log-local';
import type { SharedLogs } from '@kvorum/ports';
import type { KvdConfig, SaslConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';

export interface OpenedLogs {
  /** The logs as one more member of this process sees them. */
  readonly forMember: () => SharedLogs;
  /** For messages: the brokers or the directory. */
  readonly where: string;
  readonly close: () => Promise<void>;
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new KvError('KV_DATA_DIR', `${directory}: ${(error as Error).message}`, {
      cause: error,
      details: { hint: 'make it a directory this user can write, or set another one' },
    });
  }
}

function readPassword(sasl: SaslConfig): string {
  try {
    if ((statSync(sasl.passwordFile).mode & 0o004) !== 0) {
      throw new KvError(
        'KV_CONFIG',
        `log.sasl.passwordFile ${sasl.passwordFile} is readable by everybody`,
        {
          details: { hint: `chmod 600 ${sasl.passwordFile}` },
        },
      );
    }
    return readFileSync(sasl.passwordFile, 'utf8').trimEnd();
  } catch (error) {
    if (error instanceof KvError) throw error;
    throw new KvError(
      'KV_CONFIG',
      `cannot read log.sasl.passwordFile: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

/** Opens the shared log of the configuration. `directory` is where an embedded one lies. */
export async function openConfiguredLogs(
  config: KvdConfig,
  directory: string,
  logger: Logger,
): Promise<OpenedLogs> {
  const { log } = config;
  if (log.kind === 'local') {
    makeDirectory(directory);
    const local = await openLocalLogs({
      directory,
      limits: config.limits,
      topicPrefix: `${log.topicPrefix}raft-log-`,
    });
    return { forMember: () => local.forMember(), where: directory, close: () => local.close() };
  }
  const { sasl } = log;
  // Loaded only where it is used: the Kafka client costs memory and start time.
  const { openKafkaLogs } = await import('@kvorum/log-kafka');
  const logs = openKafkaLogs({
    brokers: log.brokers,
    topicPrefix: `${log.topicPrefix}raft-log-`,
    clientId: `kvd-${config.clusterName}-${config.name}`,
    ssl: log.ssl,
    ...(sasl === undefined
      ? {}
      : {
          sasl: {
            mechanism: sasl.mechanism,
            username: sasl.username,
            password: readPassword(sasl),
          },
        }),
    dev: config.dev,
    limits: config.limits,
    logger: (level, message, fields) => logger[level](fields, message),
  });
  return { forMember: () => logs, where: log.brokers.join(', '), close: () => logs.close() };
}
