import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { DEFAULT_LIMITS, type Limits } from '@kvorum/base';
import { systemClock } from '@kvorum/server';
import { KV, Watch } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { ClientMemory } from '../../src/client-memory.ts';
import { GrpcServer } from '../../src/etcd/grpc/grpc-server.ts';
import { GrpcError } from '../../src/etcd/grpc-error.ts';
import { type Service, type ServiceHandlers, service } from '../../src/etcd/service.ts';
import { GrpcCounts } from '../../src/grpc-counts.ts';
import { RawGrpc } from './grpc-client.ts';
import { RawHttp2 } from './raw-http2.ts';

export type PutHandler = ServiceHandlers<typeof KV.method>['put'];
export type WatchHandler = ServiceHandlers<typeof Watch.method>['watch'];

/** The services KV and Watch, of which two methods do something. */
export function putAndWatch(put: PutHandler, watch: WatchHandler): readonly Service[] {
  const unused = (): Promise<never> => Promise.reject(new GrpcError('UNIMPLEMENTED', 'unused'));
  const others = { range: unused, rangeStream: unused, deleteRange: unused, txn: unused };
  return [service(KV, { ...others, compact: unused, put }), service(Watch, { watch })];
}

export interface GrpcApp {
  readonly grpc: GrpcServer;
  readonly port: number;
  readonly registry: Registry;
  readonly memory: ClientMemory;
  /** Sockets that are open. */
  connections(): Promise<number>;
  raw(): RawHttp2;
  plain(): RawGrpc;
  /** A client of another kind: it is closed before the server is. */
  closing<Client extends { close(): void }>(client: Client): Client;
  stop(): void;
}

/** A server of the given services, on a port of its own, whose clock stands where the test has put it. */
export async function startGrpc(
  services: readonly Service[],
  nowMs: () => number,
  limits: Partial<Limits>,
): Promise<GrpcApp> {
  const registry = new Registry();
  const { clientBytesMax } = { ...DEFAULT_LIMITS, ...limits };
  const memory = new ClientMemory(clientBytesMax, () => undefined);
  const grpc = new GrpcServer(
    {
      clock: { ...systemClock, nowMs, wallMs: nowMs },
      clientMemory: memory,
      limits: { ...DEFAULT_LIMITS, ...limits },
      logger: pino({ level: 'silent' }),
      metrics: { grpc: new GrpcCounts(registry) },
    },
    services,
  );
  const server = createServer((socket) => grpc.accept(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const clients: { close(): void }[] = [];
  const closing = <Client extends { close(): void }>(client: Client): Client => {
    clients.push(client);
    return client;
  };
  return {
    ...{ grpc, port, registry, memory, closing },
    connections: () =>
      new Promise((resolve) => server.getConnections((_error, count) => resolve(count))),
    raw() {
      const client = new RawHttp2(port);
      clients.push({ close: () => client.socket.destroy() });
      return client;
    },
    plain: () => closing(new RawGrpc(`http://127.0.0.1:${port}`)),
    stop() {
      for (const client of clients) client.close();
      grpc.terminate();
      server.close();
    },
  };
}
