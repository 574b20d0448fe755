import { ensureKafka, SHARED_BROKERS } from '../scripts/kafka/index.ts';

/**
 * Before all integration tests: one Kafka for every file that leaves brokers alone, where a whole run is under way (`npm test` says so).
 * A run of a few files starts what they ask for instead.
 */
export async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.env['KVORUM_SHARE_KAFKA'] !== '1') return undefined;
  const kafka = await ensureKafka();
  if (kafka.kind === 'unavailable') return undefined;
  process.env[SHARED_BROKERS] = kafka.bootstrap;
  return () => kafka.stop();
}
