import { startContainers } from './containers.ts';
import { kafkaJars, run } from './jars.ts';
import { type LocalKafka, startKafka } from './local-cluster.ts';

export interface AvailableKafka {
  readonly kind: 'available';
  /** For people: where it came from. */
  readonly source: string;
  readonly brokers: readonly string[];
  readonly bootstrap: string;
  /** Present when brokers can be killed, paused and restarted one by one. */
  readonly faults: Pick<LocalKafka, 'kill' | 'restart' | 'pause' | 'resume'> | undefined;
  /** Ends what was started for the caller; leaves a given KAFKA_BROKERS alone. */
  stop(): Promise<void>;
}

export interface UnavailableKafka {
  readonly kind: 'unavailable';
  readonly reasons: readonly string[];
}

/** Brokers that somebody else started and stops: the user's own, then those of the whole test run (test/shared-kafka.ts). */
const GIVEN = 'KAFKA_BROKERS';
export const SHARED_BROKERS = 'KVORUM_SHARED_BROKERS';

export interface EnsureKafkaOptions {
  /** How many to start where none are given; default 3. */
  readonly brokers?: number;
  /** The caller kills or freezes brokers: it gets its own, never those that a test run shares. */
  readonly faults?: boolean;
}

/**
 * A real Kafka for tests and benchmarks: KAFKA_BROKERS, else what the test run shares, else local brokers through Java and Maven, else
 * Docker containers. With KVORUM_REQUIRE_KAFKA=1 none of them is an error.
 */
export async function ensureKafka(
  options: EnsureKafkaOptions = {},
): Promise<AvailableKafka | UnavailableKafka> {
  const count = options.brokers ?? 3;
  for (const variable of options.faults === true ? [GIVEN] : [GIVEN, SHARED_BROKERS]) {
    const given = process.env[variable];
    if (given === undefined || given === '') continue;
    const brokers = given.split(',').map((broker) => broker.trim());
    const source = `${variable}=${given}`;
    return {
      kind: 'available',
      source,
      brokers,
      bootstrap: given,
      faults: undefined,
      stop: async () => {},
    };
  }
  const reasons = ['KAFKA_BROKERS is not set'];
  const missing = await kafkaJars().then(
    () => undefined,
    (error: unknown) => String(error),
  );
  if (missing === undefined) {
    const cluster = await startKafka({ brokers: count });
    const { brokers, bootstrap } = cluster;
    const source = `${count} local brokers`;
    return {
      kind: 'available',
      source,
      brokers,
      bootstrap,
      faults: cluster,
      stop: () => cluster.stop(),
    };
  }
  reasons.push(missing);
  if ((await run('docker', ['info'])).ok) {
    const cluster = await startContainers(count);
    const source = `${count} containers`;
    return { kind: 'available', source, faults: undefined, ...cluster };
  }
  reasons.push('no Docker engine answers');
  if (process.env['KVORUM_REQUIRE_KAFKA'] === '1') {
    throw new Error(`KVORUM_REQUIRE_KAFKA=1, but there is no Kafka: ${reasons.join('; ')}`);
  }
  return { kind: 'unavailable', reasons };
}
