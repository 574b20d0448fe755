import type { StartedNetwork, StartedTestContainer } from 'testcontainers';
import { freePorts } from '../free-ports.ts';
import { untilReady } from './ready.ts';

const IMAGE = 'apache/kafka:4.1.1';
const STARTUP_MS = 120_000;
const MIB = 1024 * 1024;

/** What tests need of a cluster that runs in containers; they cannot be killed one by one. */
export interface ContainerKafka {
  readonly brokers: readonly string[];
  readonly bootstrap: string;
  stop(): Promise<void>;
}

function environment(id: number, count: number, hostPort: number): Record<string, string> {
  const voters = Array.from({ length: count }, (_, i) => `${i + 1}@kafka${i + 1}:9093`).join(',');
  const replicas = String(Math.min(3, count));
  return {
    CLUSTER_ID: '4L6g3nShT-eMCtK--X86sw',
    KAFKA_NODE_ID: String(id),
    KAFKA_PROCESS_ROLES: 'broker,controller',
    KAFKA_CONTROLLER_QUORUM_VOTERS: voters,
    KAFKA_LISTENERS: 'PLAINTEXT://:19092,CONTROLLER://:9093,HOST://:9092',
    KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://kafka${id}:19092,HOST://127.0.0.1:${hostPort}`,
    KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,HOST:PLAINTEXT',
    KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
    KAFKA_INTER_BROKER_LISTENER_NAME: 'PLAINTEXT',
    KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: replicas,
    KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: '0',
    KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
    KAFKA_MESSAGE_MAX_BYTES: String(8 * MIB),
    KAFKA_REPLICA_FETCH_MAX_BYTES: String(8 * MIB),
    KAFKA_BROKER_SESSION_TIMEOUT_MS: '2000',
    KAFKA_BROKER_HEARTBEAT_INTERVAL_MS: '300',
    KAFKA_REPLICA_LAG_TIME_MAX_MS: '3000',
    KAFKA_HEAP_OPTS: '-Xms256m -Xmx384m',
  };
}

/** Starts a KRaft cluster in Docker containers; testcontainers removes them also when this process crashes. */
export async function startContainers(count: number): Promise<ContainerKafka> {
  const { GenericContainer, Network, Wait } = await import('testcontainers');
  const ports = await freePorts(count);
  const network: StartedNetwork = await new Network().start();
  const started: StartedTestContainer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(started.splice(0).map((container) => container.stop()));
    await network.stop();
  };
  try {
    const starting = ports.map((host, i) =>
      new GenericContainer(IMAGE)
        .withNetwork(network)
        .withNetworkAliases(`kafka${i + 1}`)
        .withExposedPorts({ container: 9092, host })
        .withEnvironment(environment(i + 1, count, host))
        .withStartupTimeout(STARTUP_MS)
        .withWaitStrategy(Wait.forListeningPorts())
        .start(),
    );
    started.push(...(await Promise.all(starting)));
    const brokers = ports.map((port) => `127.0.0.1:${port}`);
    await untilReady(brokers, count);
    return { brokers, bootstrap: brokers.join(','), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
