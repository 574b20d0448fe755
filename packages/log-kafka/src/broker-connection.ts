import type { Socket } from 'node:net';
import { KvError } from '@kvorum/base';
import type { KafkaConfig, SASLOptions } from 'kafkajs';
import Broker from 'kafkajs/src/broker/index.js';
import ConnectionPool from 'kafkajs/src/network/connectionPool.js';
import defaultSocketFactory from 'kafkajs/src/network/socketFactory.js';
import apiKeys from 'kafkajs/src/protocol/requests/apiKeys.js';
import protocol from 'kafkajs/src/protocol/requests/index.js';
import './request-queue-timer.ts';
import type { KafkaApi, ProduceAnswer } from './kafka-api.ts';
import { encodeProduce, type ProduceRequest } from './produce-request.ts';
import { RIGHTS_VERSION, rightsRequest } from './topic-rights.ts';

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
/** Takes what this package has to say; `fields` are for programs. */
export type KafkaLogger = (level: LogLevel, message: string, fields: object) => void;

export interface ConnectionOptions {
  readonly clientId: string;
  readonly ssl: KafkaConfig['ssl'] | undefined;
  readonly sasl: SASLOptions | undefined;
  /** Makes the socket to a broker; default a plain or TLS one. */
  readonly socketFactory: KafkaConfig['socketFactory'] | undefined;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly logger: KafkaLogger | undefined;
}

export function usesTls({ ssl }: ConnectionOptions): boolean {
  return ssl !== undefined && ssl !== false;
}

/** One record on its way to a topic. */
export type Produced = Pick<ProduceRequest, 'topic' | 'record' | 'key' | 'acks' | 'timeoutMs'>;

/** The record left this process, so it may be in the log whatever this error says. */
export class SentError extends KvError {}

/**
 * One TCP connection to one broker. A broker answers the requests of a connection one after the other, so whoever must not wait for
 * somebody else has a connection of its own. After a failure it is destroyed, never used again.
 */
export class BrokerConnection {
  readonly #broker: Broker;
  readonly #connection: KafkajsConnection;
  readonly #options: ConnectionOptions;
  /** kafkajs makes it anew for every request, modules looked up and all; here its version is the connection's. */
  #produceRequest: KafkajsProtocolRequest | undefined;

  private constructor(broker: Broker, connection: KafkajsConnection, options: ConnectionOptions) {
    this.#broker = broker;
    this.#connection = connection;
    this.#options = options;
  }

  /** Connects, agrees on versions and authenticates; throws kafkajs's error when one of them fails in time. */
  static async open(address: BrokerAddress, options: ConnectionOptions): Promise<BrokerConnection> {
    const connectionPool = new ConnectionPool({
      host: address.host,
      port: address.port,
      clientId: options.clientId,
      ssl: options.ssl === true ? {} : (options.ssl ?? null) || null,
      sasl: options.sasl ?? null,
      socketFactory: withoutDelay(options.socketFactory ?? defaultSocketFactory()),
      connectionTimeout: options.connectTimeoutMs,
      requestTimeout: options.requestTimeoutMs,
      enforceRequestTimeout: true,
      maxInFlightRequests: null,
      logger: quietLogger(options.logger),
    });
    const [connection] = connectionPool.pool;
    if (connection === undefined)
      throw new KvError('KV_LOG_UNAVAILABLE', 'kafkajs made no connection');
    const broker = new Broker({
      connectionPool,
      logger: quietLogger(options.logger),
      authenticationTimeout: options.requestTimeoutMs,
      allowAutoTopicCreation: false,
    });
    const opened = new BrokerConnection(broker, connection, options);
    try {
      await broker.connect();
    } catch (error) {
      opened.destroy();
      throw error;
    }
    return opened;
  }

  get isOpen(): boolean {
    return this.#connection.isConnected();
  }

  /** Sends a request and decodes the answer; error codes inside it are the caller's to read. */
  async call<Name extends keyof KafkaApi>(
    api: Name,
    payload: object,
    timeoutMs: number = this.#options.requestTimeoutMs,
  ): Promise<KafkaApi[Name]> {
    const { request, response } = this.#lookup(api)(payload);
    const answer = await this.#connection.send({
      request,
      response: { decode: response.decode, parse: async (data: unknown) => data },
      requestTimeout: timeoutMs,
      logResponseError: false,
    });
    return answer as KafkaApi[Name];
  }

  /**
   * The operations on a topic that this connection's user may do, as bits (AclOperation); undefined when the broker does not say. All of them without
   * an authorizer, none for a topic that the user may not see.
   */
  async rights(topic: string): Promise<number | undefined> {
    const metadata = this.#broker.versions?.[apiKeys['Metadata'] ?? -1];
    if (metadata === undefined || metadata.maxVersion < RIGHTS_VERSION) return undefined;
    const requestTimeout = this.#options.requestTimeoutMs;
    const answer = await this.#connection.send({ ...rightsRequest(topic), requestTimeout });
    return answer as number | undefined;
  }

  /**
   * Produces one record to partition 0. Throws a SentError once the request was handed to the socket, another error before.
   */
  async produce(produced: Produced): Promise<ProduceAnswer> {
    const { timeoutMs } = produced;
    const connection = this.#connection;
    if (connection.sasl !== null && !connection.isAuthenticated()) await connection.authenticate();
    this.#produceRequest ??= this.#lookup('Produce')({ topicData: [], acks: -1 });
    const { request, response } = this.#produceRequest;
    const { socket } = connection;
    if (socket === undefined || !connection.isConnected()) {
      throw new KvError('KV_LOG_UNAVAILABLE', 'the connection is closed');
    }
    const correlationId = connection.nextCorrelationId();
    const { apiVersion, apiKey, apiName } = request;
    const pieces = encodeProduce({
      apiVersion,
      correlationId,
      clientId: connection.clientId,
      timestampMs: Date.now(),
      ...produced,
    });
    try {
      const { payload } = await new Promise<{ payload: Uint8Array }>((resolve, reject) => {
        connection.requestQueue.push({
          entry: { apiKey, apiName, apiVersion, correlationId, resolve, reject },
          expectResponse: true,
          requestTimeout: timeoutMs + ANSWER_SLACK_MS,
          sendRequest: () => writeAll(socket, pieces),
        });
      });
      return (await response.decode(payload)) as ProduceAnswer;
    } catch (cause) {
      throw new SentError('KV_LOG_UNAVAILABLE', 'no answer to a produce request', {
        cause,
        outcome: 'unknown',
      });
    }
  }

  /** Closes at once; what waits for an answer fails. */
  destroy(): void {
    const connection = this.#connection;
    connection.rejectRequests(new KvError('KV_LOG_UNAVAILABLE', 'the connection was closed'));
    connection.requestQueue.destroy();
    connection.socket?.destroy();
    // Only marks it closed now: nothing is pending. It has no way to fail.
    void connection.disconnect();
  }

  #lookup(api: string): (payload: object) => KafkajsProtocolRequest {
    const [apiKey, definition] = [apiKeys[api], protocol.requests[api]];
    if (apiKey === undefined || definition === undefined) {
      throw new KvError('KV_LOG_UNAVAILABLE', `kafkajs has no ${api} request`);
    }
    return this.#broker.lookupRequest(apiKey, definition);
  }
}

/** The broker's own time-out comes first, so that its answer, which says more, can arrive. */
const ANSWER_SLACK_MS = 500;

/** Below it copying a request together is cheaper than writing its pieces one by one. */
const COPY_BYTES_MAX = 8 * 1024;

function writeAll(socket: Socket, pieces: readonly Uint8Array[]): void {
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (bytes <= COPY_BYTES_MAX) {
    socket.write(Buffer.concat(pieces, bytes));
    return;
  }
  socket.cork();
  for (const piece of pieces) socket.write(piece);
  socket.uncork();
}

type SocketFactory = NonNullable<KafkaConfig['socketFactory']>;

function withoutDelay(factory: SocketFactory | ReturnType<typeof defaultSocketFactory>): unknown {
  return (options: Parameters<ReturnType<typeof defaultSocketFactory>>[0]) => {
    const socket = (factory as ReturnType<typeof defaultSocketFactory>)(options);
    socket.setNoDelay(true);
    return socket;
  };
}

/** kafkajs reports every refused connection as an error; whether it is one is decided further up. */
function quietLogger(logger: KafkaLogger | undefined): KafkajsLogger {
  const say = (message: string, extra: object = {}): void => logger?.('debug', message, extra);
  const silent = (): void => {};
  const quiet: KafkajsLogger = {
    namespace: () => quiet,
    debug: silent,
    info: say,
    warn: say,
    error: say,
  };
  return quiet;
}
