import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findKafka, startKafka } from '../scripts/kafka/local-cluster.ts';
import { progress, type Workspace } from './processes.ts';
import { REPO_ROOT } from './repo-root.ts';

const BROKER_COUNT = 3;

/** The Kafka of one run. */
export interface Brokers {
  readonly version: string;
  readonly addresses: readonly string[];
  /** Empty when the brokers are somebody else's: their CPU time is then not in the results. */
  readonly pids: readonly number[];
}

/** `KAFKA_BROKERS` when it is set, else three brokers of this run's own, ended with the workspace. */
export async function startBrokers(workspace: Workspace): Promise<Brokers> {
  const given = process.env['KAFKA_BROKERS'];
  if (given !== undefined && given !== '') {
    return { version: 'given by KAFKA_BROKERS', addresses: given.split(','), pids: [] };
  }
  progress('kafka: starting three brokers');
  const directory = join(workspace.dir, 'kafka');
  const kafka = await startKafka({ brokers: BROKER_COUNT, directory });
  workspace.onClose(() => kafka.stop());
  const found = await findKafka(directory);
  const pids = (found?.running ?? []).flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  return { version: pinnedVersion(), addresses: kafka.brokers, pids };
}

function pinnedVersion(): string {
  const pom = readFileSync(join(REPO_ROOT, 'scripts/kafka/pom.xml'), 'utf8');
  return /<kafka.version>([^<]+)</.exec(pom)?.[1] ?? 'unknown';
}
