import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, isFree } from '../free-ports.ts';
import {
  type BrokerAddress,
  brokerFiles,
  type ClusterFacts,
  certificateDirectory,
  HOST,
  writeBrokerFiles,
} from './broker-files.ts';
import {
  brokerPid,
  formatStorage,
  killBroker,
  signalBroker,
  startBroker,
  stopBroker,
} from './broker-process.ts';
import { kafkaJars } from './jars.ts';
import { untilReady } from './ready.ts';
import {
  type Certificates,
  certificatesIn,
  formatUsers,
  type KafkaSecurity,
  makeCertificates,
  SECURE_PORTS,
  type SecurePorts,
} from './security.ts';

/** A running Kafka cluster that this process controls. Brokers are numbered from 1. */
export interface LocalKafka {
  /** `127.0.0.1:port`, one per broker. */
  readonly brokers: readonly string[];
  /** The same as one comma-separated text. */
  readonly bootstrap: string;
  /** Where the brokers keep everything. */
  readonly directory: string;
  /** The secured listeners, when the cluster was started with `security`. */
  readonly secured: SecuredListeners | undefined;
  /** Where the listeners of the option `forwarded` really listen: name → port of each broker. */
  readonly forwarded: Readonly<Record<string, readonly number[]>>;
  /** SIGKILL; resolves when it is gone. */
  kill(broker: number): Promise<void>;
  /** Starts a broker, stopping it first when it runs; resolves when it is part of the cluster. */
  restart(broker: number): Promise<void>;
  /** SIGSTOP: it keeps its connections and answers nothing. */
  pause(broker: number): Promise<void>;
  resume(broker: number): Promise<void>;
  /** Ends all brokers. */
  stop(): Promise<void>;
}

/** Addresses as in `brokers`, and the files to come in with. */
export interface SecuredListeners {
  readonly saslPlaintext: readonly string[];
  readonly saslSsl: readonly string[];
  readonly mutualTls: readonly string[];
  readonly certificates: Certificates;
}

export interface StartKafkaOptions {
  readonly brokers: number;
  /** Where the brokers keep everything; a temporary one, deleted by `stop`, when absent. */
  readonly directory?: string;
  /** Client ports, one per broker; free ones when absent. */
  readonly ports?: readonly number[];
  /** The brokers go on when this process ends, and `stop` keeps their data. Needs `directory`. */
  readonly detached?: boolean;
  /**
   * Listeners with SASL, TLS and both beside the plain one, and an authorizer: see secureSettings. Needs openssl. A cluster keeps what it
   * was first started with.
   */
  readonly security?: KafkaSecurity;
  /**
   * Plain listeners more, by upper-case name: the port each broker tells the clients of that listener, where the caller's proxy for it
   * stands. The brokers listen elsewhere, see `LocalKafka.forwarded`. A cluster keeps what it was first started with.
   */
  readonly forwarded?: Readonly<Record<string, readonly number[]>>;
}

interface State extends ClusterFacts {
  readonly clusterId: string;
}

const stateFile = (directory: string): string => join(directory, 'state.json');

/**
 * Starts a KRaft cluster on this machine from published jars and waits until it takes writes. What runs
 * already in `directory` is kept. Throws when Java or Maven is missing.
 */
export async function startKafka(options: StartKafkaOptions): Promise<LocalKafka> {
  const jars = await kafkaJars();
  const isTemporary = options.directory === undefined;
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'kvorum-kafka-')));
  await mkdir(directory, { recursive: true });
  const known = await readState(directory);
  const state = (await reusable(directory, known, options)) ?? (await newState(known, options));
  await writeFile(stateFile(directory), JSON.stringify(state, null, 2));
  const certificates = certificateDirectory(directory);
  if (state.security !== undefined && !existsSync(certificates)) {
    await makeCertificates(certificates);
  }
  const cluster = new JarCluster({
    jars,
    directory,
    state,
    isTemporary,
    guarded: options.detached !== true,
  });
  try {
    await cluster.startAll();
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

/** The cluster of a directory, running or not, without starting anything; undefined when there is none. */
export async function findKafka(directory: string): Promise<FoundKafka | undefined> {
  const state = await readState(directory);
  if (state === undefined) return undefined;
  const jars = await kafkaJars();
  const cluster = new JarCluster({ jars, directory, state, isTemporary: false, guarded: false });
  const running = await Promise.all(
    state.brokers.map(async ({ id, port }) => ({
      id,
      address: `${HOST}:${port}`,
      pid: await brokerPid(brokerFiles(directory, id)),
    })),
  );
  return { cluster, running };
}

export interface FoundKafka {
  readonly cluster: LocalKafka;
  readonly running: readonly {
    readonly id: number;
    readonly address: string;
    readonly pid: number | undefined;
  }[];
}

interface JarClusterOptions {
  readonly jars: string;
  readonly directory: string;
  readonly state: State;
  readonly isTemporary: boolean;
  readonly guarded: boolean;
}

class JarCluster implements LocalKafka {
  readonly brokers: readonly string[];
  readonly bootstrap: string;
  readonly directory: string;
  readonly secured: SecuredListeners | undefined;
  readonly forwarded: Readonly<Record<string, readonly number[]>>;
  readonly #options: JarClusterOptions;
  readonly #guards = new Map<number, () => void>();

  constructor(options: JarClusterOptions) {
    this.#options = options;
    this.brokers = options.state.brokers.map(({ port }) => `${HOST}:${port}`);
    this.bootstrap = this.brokers.join(',');
    this.directory = options.directory;
    this.secured = securedListeners(options.directory, options.state);
    this.forwarded = forwardedPorts(options.state);
  }

  async startAll(): Promise<void> {
    const { brokers } = this.#options.state;
    await Promise.all(brokers.map((broker) => this.#start(broker)));
    await untilReady(this.brokers, brokers.length);
  }

  async kill(broker: number): Promise<void> {
    const { id } = this.#address(broker);
    await killBroker(brokerFiles(this.#options.directory, id));
  }

  async restart(broker: number): Promise<void> {
    const address = this.#address(broker);
    await stopBroker(brokerFiles(this.#options.directory, address.id));
    await this.#start(address);
    await untilReady(this.brokers, await this.#runningCount());
  }

  async pause(broker: number): Promise<void> {
    await this.#signal(broker, 'SIGSTOP');
  }

  async resume(broker: number): Promise<void> {
    await this.#signal(broker, 'SIGCONT');
  }

  async stop(): Promise<void> {
    const { directory, state, isTemporary } = this.#options;
    const all = state.brokers.map(({ id }) => brokerFiles(directory, id));
    // Nobody needs the data of a temporary cluster, so nobody needs to wait for a clean end.
    await Promise.all(all.map((files) => (isTemporary ? killBroker(files) : stopBroker(files))));
    for (const release of this.#guards.values()) release();
    if (isTemporary) await rm(directory, { recursive: true, force: true });
  }

  #address(broker: number): BrokerAddress {
    const address = this.#options.state.brokers.find(({ id }) => id === broker);
    if (address !== undefined) return address;
    const ids = this.#options.state.brokers.map(({ id }) => id).join(', ');
    throw new Error(`there is no broker ${broker}; the brokers are ${ids}`);
  }

  async #start(address: BrokerAddress): Promise<void> {
    const { jars, directory, state, guarded, isTemporary: isShort } = this.#options;
    const files = brokerFiles(directory, address.id);
    if ((await brokerPid(files)) !== undefined) return;
    await writeBrokerFiles(directory, address, state);
    await formatStorage(jars, files, state.clusterId, formatUsers(state.security));
    this.#guards.set(address.id, await startBroker(jars, files, { guarded, isShort }));
  }

  async #signal(broker: number, signal: NodeJS.Signals): Promise<void> {
    const { id } = this.#address(broker);
    const isRunning = await signalBroker(brokerFiles(this.#options.directory, id), signal);
    if (!isRunning) throw new Error(`broker ${broker} is not running`);
  }

  async #runningCount(): Promise<number> {
    const { directory, state } = this.#options;
    const pids = await Promise.all(
      state.brokers.map(({ id }) => brokerPid(brokerFiles(directory, id))),
    );
    return pids.filter((pid) => pid !== undefined).length;
  }
}

function securedListeners(directory: string, state: State): SecuredListeners | undefined {
  if (state.security === undefined) return undefined;
  const addresses = (listener: keyof SecurePorts): readonly string[] =>
    state.brokers.flatMap(({ secure }) => (secure ? [`${HOST}:${secure[listener]}`] : []));
  return {
    saslPlaintext: addresses('saslPlaintext'),
    saslSsl: addresses('saslSsl'),
    mutualTls: addresses('mutualTls'),
    certificates: certificatesIn(certificateDirectory(directory)),
  };
}

function forwardedPorts(state: State): Readonly<Record<string, readonly number[]>> {
  const ports: Record<string, number[]> = {};
  for (const { name, port } of state.brokers.flatMap(({ forwarded }) => forwarded ?? [])) {
    ports[name] = [...(ports[name] ?? []), port];
  }
  return ports;
}

async function readState(directory: string): Promise<State | undefined> {
  if (!existsSync(stateFile(directory))) return undefined;
  return JSON.parse(await readFile(stateFile(directory), 'utf8')) as State;
}

/** The state of an earlier start, when its ports are still ours or free and the number of brokers is the same. */
async function reusable(
  directory: string,
  known: State | undefined,
  options: StartKafkaOptions,
): Promise<State | undefined> {
  if (known === undefined || known.brokers.length !== options.brokers) return undefined;
  for (const { id, port, controllerPort } of known.brokers) {
    if ((await brokerPid(brokerFiles(directory, id))) !== undefined) return known;
    if (!(await isFree(port)) || !(await isFree(controllerPort))) return undefined;
  }
  return known;
}

async function newState(known: State | undefined, options: StartKafkaOptions): Promise<State> {
  if (known !== undefined && known.brokers.length !== options.brokers) {
    throw new Error(`this directory holds a cluster of ${known.brokers.length} brokers`);
  }
  const security = known === undefined ? options.security : known.security;
  const names = Object.keys(options.forwarded ?? {});
  const each = 2 + SECURE_PORTS + names.length;
  const ports = await freePorts(each * options.brokers);
  const brokers = Array.from({ length: options.brokers }, (_, i) => {
    const own = ports.slice(each * i, each * (i + 1));
    const [port = 0, controllerPort = 0, saslPlaintext = 0, saslSsl = 0, mutualTls = 0] = own;
    return {
      id: i + 1,
      port: options.ports?.[i] ?? port,
      controllerPort,
      ...(security && { secure: { saslPlaintext, saslSsl, mutualTls } }),
      ...(names.length > 0 && {
        forwarded: names.map((name, j) => ({
          name,
          port: own[2 + SECURE_PORTS + j] ?? 0,
          advertisedPort: options.forwarded?.[name]?.[i] ?? 0,
        })),
      }),
    };
  });
  const clusterId = known?.clusterId ?? newClusterId();
  return { clusterId, brokers, ...(security && { security }) };
}

/** 16 bytes in URL-safe base64. The first is small: an id that starts with `-` looks like an option to Kafka's tools. */
function newClusterId(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8(bytes.readUInt8(0) & 0x7f, 0);
  return bytes.toString('base64url');
}
