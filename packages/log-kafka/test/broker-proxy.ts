import { connect, createServer, type Server, type Socket } from 'node:net';
import type { KafkaLogsOptions } from '@kvorum/log-kafka';

type SocketFactory = NonNullable<KafkaLogsOptions['socketFactory']>;

/** Kafka's numbers of the requests that this package may send. */
export const API_NAMES: Readonly<Record<number, string>> = {
  0: 'Produce',
  1: 'Fetch',
  2: 'ListOffsets',
  3: 'Metadata',
  18: 'ApiVersions',
  19: 'CreateTopics',
  21: 'DeleteRecords',
  32: 'DescribeConfigs',
};

/**
 * Stands between a client and all brokers: sees which requests are sent, and can lose the answers of one kind.
 */
export class BrokerProxy {
  /** Names (or numbers) of all requests seen. */
  readonly requests = new Set<string>();
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  /** Port of a broker → port of its proxy. */
  readonly #ports = new Map<number, number>();
  #losing: string | undefined;

  /** @param brokers - every broker of the cluster, `host:port` as they are advertised. */
  static async open(brokers: readonly string[]): Promise<BrokerProxy> {
    const proxy = new BrokerProxy();
    for (const broker of brokers) await proxy.#listen(broker);
    return proxy;
  }

  /** Give this to `openKafkaLogs`. */
  readonly socketFactory: SocketFactory = ({ port, onConnect }) =>
    connect({ host: '127.0.0.1', port: this.#ports.get(port) ?? 1 }, onConnect);

  /** From now on the next request of this name reaches the broker, and its connection then breaks before the answer. */
  loseNextAnswerTo(name: string): void {
    this.#losing = name;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(
      this.#servers.map((server) => new Promise((resolve) => server.close(resolve))),
    );
  }

  async #listen(broker: string): Promise<void> {
    const [host = '', port = ''] = broker.split(':');
    const server = createServer((client) =>
      this.#relay(client, connect({ host, port: Number(port) })),
    );
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    this.#ports.set(Number(port), address.port);
  }

  #relay(client: Socket, broker: Socket): void {
    let isLost = false;
    let pending = Buffer.alloc(0);
    for (const socket of [client, broker]) {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        client.destroy();
        broker.destroy();
        this.#sockets.delete(socket);
      });
    }
    client.on('data', (chunk) => {
      broker.write(chunk);
      pending = Buffer.concat([pending, chunk]);
      for (let size = frameSize(pending); size !== undefined; size = frameSize(pending)) {
        const key = pending.readInt16BE(4);
        const name = API_NAMES[key] ?? String(key);
        this.requests.add(name);
        if (name === this.#losing) {
          this.#losing = undefined;
          isLost = true;
        }
        pending = pending.subarray(size);
      }
    });
    broker.on('data', (chunk) => {
      if (isLost) client.destroy();
      else client.write(chunk);
    });
  }
}

/** Whole length of the first request in `bytes`, once all of it is there. */
function frameSize(bytes: Buffer): number | undefined {
  if (bytes.length < 6) return undefined;
  const size = 4 + bytes.readInt32BE(0);
  return bytes.length >= size ? size : undefined;
}
