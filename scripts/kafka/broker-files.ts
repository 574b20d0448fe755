import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  certificatesIn,
  type KafkaSecurity,
  type SecurePorts,
  secureListeners,
  secureSettings,
} from './security.ts';

/** One broker of the cluster, as it is written down in its state file. */
export interface BrokerAddress {
  /** 1, 2, … */
  readonly id: number;
  readonly port: number;
  readonly controllerPort: number;
  /** Of the secured listeners, where there are any. */
  readonly secure?: SecurePorts;
  /** More plain listeners, behind proxies of whoever started the cluster. */
  readonly forwarded?: readonly ForwardedListener[];
}

/** A listener that tells its clients to come back to another port, where something forwards them here. */
export interface ForwardedListener {
  /** Upper case, as Kafka writes listener names. */
  readonly name: string;
  readonly port: number;
  readonly advertisedPort: number;
}

/** What all brokers of a cluster share. */
export interface ClusterFacts {
  readonly brokers: readonly BrokerAddress[];
  readonly security?: KafkaSecurity;
}

export const HOST = '127.0.0.1';
const MIB = 1024 * 1024;

/**
 * Settings for a small machine and fast failover. A dead broker is fenced after its 2 s session instead of 9 s; a hung follower leaves the
 * in-sync replicas after 3 s instead of 30 s. Everything a Kvorum topic depends on is set on the topic itself, so brokers keep
 * Kafka's defaults there; only auto-creation is off, and records may be as large as Kvorum's.
 */
function properties(self: BrokerAddress, cluster: ClusterFacts, root: string): string {
  const { brokers: all, security } = cluster;
  const voters = all.map(({ id, controllerPort }) => `${id}@${HOST}:${controllerPort}`).join(',');
  const replicas = Math.min(3, all.length);
  const secure = self.secure === undefined ? [] : secureListeners(HOST, self.secure);
  const clients = [`PLAINTEXT://${HOST}:${self.port}`, ...secure].join(',');
  const names = ['CONTROLLER:PLAINTEXT', 'PLAINTEXT:PLAINTEXT'];
  for (const [name = ''] of secure.map((one) => one.split(':'))) names.push(`${name}:${name}`);
  const forwarded = self.forwarded ?? [];
  for (const { name } of forwarded) names.push(`${name}:PLAINTEXT`);
  const heard = [clients, ...forwarded.map(({ name, port }) => `${name}://${HOST}:${port}`)];
  const told = forwarded.map(({ name, advertisedPort }) => `${name}://${HOST}:${advertisedPort}`);
  const settings: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': self.id,
    'controller.quorum.voters': voters,
    listeners: `${heard.join(',')},CONTROLLER://${HOST}:${self.controllerPort}`,
    'advertised.listeners': [clients, ...told].join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': names.join(','),
    'log.dirs': join(brokerFiles(root, self.id).directory, 'data'),
    'num.network.threads': 2,
    'num.io.threads': 2,
    'num.replica.fetchers': 1,
    'offsets.topic.num.partitions': 1,
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.num.partitions': 1,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': Math.min(2, all.length),
    'group.initial.rebalance.delay.ms': 0,
    'auto.create.topics.enable': false,
    'unclean.leader.election.enable': false,
    // Where a topic allows one (to see what becomes of it) it comes within seconds, not five minutes.
    'unclean.leader.election.interval.ms': 2000,
    'message.max.bytes': 8 * MIB,
    'replica.fetch.max.bytes': 8 * MIB,
    'broker.session.timeout.ms': 2000,
    'broker.heartbeat.interval.ms': 300,
    'controller.quorum.election.timeout.ms': 500,
    'controller.quorum.fetch.timeout.ms': 1000,
    'replica.lag.time.max.ms': 3000,
    'log.retention.check.interval.ms': 300_000,
    ...(security && secureSettings(security, certificatesIn(certificateDirectory(root)))),
  };
  return `${Object.entries(settings)
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')}\n`;
}

/** Only warnings, to standard output (which goes to the broker's own file). */
const LOG4J = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="error">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="warn"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
`;

export function certificateDirectory(root: string): string {
  return join(root, 'certificates');
}

export interface BrokerFiles {
  readonly directory: string;
  readonly properties: string;
  readonly log4j: string;
  readonly output: string;
  readonly pid: string;
}

export function brokerFiles(root: string, id: number): BrokerFiles {
  const directory = join(root, `broker-${id}`);
  return {
    directory,
    properties: join(directory, 'server.properties'),
    log4j: join(directory, 'log4j2.xml'),
    output: join(directory, 'broker.out'),
    pid: join(directory, 'pid'),
  };
}

export async function writeBrokerFiles(
  root: string,
  self: BrokerAddress,
  cluster: ClusterFacts,
): Promise<BrokerFiles> {
  const files = brokerFiles(root, self.id);
  await mkdir(files.directory, { recursive: true });
  await writeFile(files.properties, properties(self, cluster, root));
  await writeFile(files.log4j, LOG4J);
  return files;
}
