import type { FastifyInstance } from 'fastify';
import type { Host, ReadinessCheck } from '../host.ts';
import { healthStatus, memberStatus, shardInfos } from './control.ts';

function readyText(checks: readonly ReadinessCheck[], verbose: boolean): string {
  const failed = checks.filter((check) => !check.ok);
  if (verbose) {
    const lines = checks.map((check) => `[${check.ok ? '+' : '-'}] ${check.name}: ${check.detail}`);
    return `${lines.join('\n')}\n${failed.length === 0 ? 'ready' : 'not ready'}\n`;
  }
  if (failed.length === 0) return 'ok\n';
  return `not ready: ${failed.map((check) => `${check.name}: ${check.detail}`).join('; ')}\n`;
}

/**
 * /livez says that this process turns: never anything of quorum or the log, or an orchestrator would kill healthy members in
 * an outage. /readyz says whether it should get traffic. /health is etcd's.
 */
export function healthRoutes(app: FastifyInstance, host: Host): void {
  const tags = ['operations'];
  app.get('/livez', { schema: { tags, summary: 'The process turns.' } }, (_request, reply) =>
    reply.type('text/plain').send('ok\n'),
  );
  app.get(
    '/readyz',
    { schema: { tags, summary: 'May get traffic; ?verbose lists the checks.' } },
    (request, reply) => {
      const checks = host.readiness();
      const ready = checks.every((check) => check.ok);
      const verbose = Object.hasOwn(request.query as object, 'verbose');
      return reply
        .code(ready ? 200 : 503)
        .type('text/plain')
        .send(readyText(checks, verbose));
    },
  );
  app.get('/health', { schema: { tags, summary: 'etcd’s health answer.' } }, (_request, reply) => {
    const { healthy, reasons } = healthStatus(host);
    return reply
      .code(healthy ? 200 : 503)
      .send({ health: String(healthy), reason: reasons.join('; ') });
  });
  app.get('/version', { schema: { tags, summary: 'Versions.' } }, () => ({
    server: host.version,
    cluster: host.clusterId,
    node: process.version,
  }));
  app.get(
    '/metrics',
    { schema: { tags, summary: 'Prometheus metrics.' } },
    async (_request, reply) => {
      const { registry } = host.metrics;
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  );
  app.get('/v1/status', { schema: { tags, summary: 'This member and its replicas.' } }, () =>
    memberStatus(host),
  );
  app.get('/v1/members', { schema: { tags, summary: 'All members.' } }, () => host.members);
  app.get('/v1/shards', { schema: { tags, summary: 'All shards as this member sees them.' } }, () =>
    shardInfos(host),
  );
  app.get(
    '/v1/slots',
    { schema: { tags, summary: 'Load and size by slot, the busiest first.' } },
    () => host.slotLoads.view({}),
  );
}
