import type { AddressInfo } from 'node:net';
import { DEFAULT_LIMITS, type KvError } from '@kvorum/base';
import {
  createLogger,
  deriveClusterId,
  deriveMemberId,
  loadConfig,
  systemClock,
} from '@kvorum/server';
import { fastify } from 'fastify';
import { ClientMemory } from '../../src/client-memory.ts';
import { Gateway } from '../../src/etcd/gateway/gateway.ts';
import { gatewayRoutes } from '../../src/etcd/gateway/routes.ts';
import type { Service } from '../../src/etcd/service.ts';
import { createMetrics } from '../../src/metrics.ts';

export interface GatewayApp {
  readonly url: string;
  readonly gateway: Gateway;
  /** What the member has logged. */
  readonly log: string[];
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

/** A gateway to the given services, on a port of its own. */
export async function startGateway(
  services: readonly Service[],
  refusal: () => KvError | undefined,
): Promise<GatewayApp> {
  const memberId = deriveMemberId(deriveClusterId('test'), 'm1');
  const { config } = loadConfig({ environment: {}, flags: {}, fixed: { logLevel: 'error' } });
  const log: string[] = [];
  const metrics = createMetrics({ version: '0.0.0-test', config, memberId });
  const gateway = new Gateway(
    {
      clock: systemClock,
      clientMemory: new ClientMemory(DEFAULT_LIMITS.clientBytesMax, () => undefined),
      limits: { ...DEFAULT_LIMITS, requestBytesMax: 100_000 },
      logger: createLogger(config, { write: (line: string) => log.push(line) }),
      metrics,
      refusal,
    },
    services,
  );
  const app = fastify({ forceCloseConnections: true });
  await gatewayRoutes(app, gateway);
  app.server.on('upgrade', (request, socket, head) =>
    gateway.upgradeOf(request.url ?? '')?.(request, socket, head),
  );
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    gateway,
    log,
    metrics: () => metrics.registry.metrics(),
    async stop() {
      gateway.terminate();
      await app.close();
    },
  };
}
