import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ETCD_CLUSTER_VERSION, ETCD_VERSION } from '../etcd/etcd-version.ts';
import type { Host, ReadinessCheck } from '../host.ts';
import { memberStatus, shardInfos } from './control.ts';
import { healthAnswer, healthChecks, livezChecks, readyzChecks } from './health-checks.ts';

const TAGS = ['operations'];

interface HealthQuery {
  readonly verbose?: string;
  readonly exclude?: string | readonly string[];
  readonly serializable?: string;
}

type ChecksOf = (host: Host) => Promise<readonly ReadinessCheck[]>;

const excludedBy = ({ exclude }: HealthQuery): readonly string[] =>
  exclude === undefined ? [] : [exclude].flat();

/** A path in etcd's form: all checks, and one of them alone below it. */
function checksRoute(
  app: FastifyInstance,
  host: Host,
  { path, summary, checks }: { path: string; summary: string; checks: ChecksOf },
): void {
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const query = request.query as HealthQuery;
    const found = await checks(host);
    const { status, text } = healthAnswer(path.slice(1), found, {
      only: (request.params as { readonly check?: string }).check,
      excluded: excludedBy(query),
      verbose: query.verbose !== undefined,
    });
    for (const { name, ok } of found) host.metrics.health.checked(path.slice(1), name, ok);
    return reply
      .code(status)
      .type('text/plain')
      .header('x-content-type-options', 'nosniff')
      .send(text);
  };
  app.get(path, { schema: { tags: TAGS, summary } }, handler);
  app.get(`${path}/:check`, { schema: { hide: true } }, handler);
}

async function health(host: Host, query: HealthQuery, reply: FastifyReply): Promise<FastifyReply> {
  const excluded = excludedBy(query);
  const checks = await healthChecks(host, query.serializable === 'true');
  const failed = checks.filter(({ name, ok }) => !ok && !excluded.includes(name));
  const healthy = failed.length === 0;
  host.metrics.health.answered(healthy);
  return reply.code(healthy ? 200 : 503).send({
    health: String(healthy),
    reason: failed.map(({ name, detail }) => `${name}: ${detail}`).join('; '),
  });
}

/** Whoever asks within a turn of the event loop gets the same text: to write it takes milliseconds, and anybody may ask. */
function sharedMetrics({ registry }: Host['metrics']): () => Promise<string> {
  let next: Promise<string> | undefined;
  const written = async (): Promise<string> => {
    await new Promise((resolve) => setImmediate(resolve));
    next = undefined;
    return registry.metrics();
  };
  return () => {
    next ??= written();
    return next;
  };
}

/**
 * /livez says that this process turns and reads its own disk: never anything of quorum or the log, or an orchestrator would kill
 * healthy members in an outage. /readyz says whether it should get traffic. /health is etcd's.
 */
export function healthRoutes(app: FastifyInstance, host: Host): void {
  checksRoute(app, host, {
    path: '/livez',
    summary: 'The process turns; ?verbose lists the checks, ?exclude=CHECK leaves one out.',
    checks: livezChecks,
  });
  checksRoute(app, host, {
    path: '/readyz',
    summary: 'May get traffic; ?verbose lists the checks, ?exclude=CHECK leaves one out.',
    checks: readyzChecks,
  });
  app.get(
    '/health',
    {
      schema: {
        tags: TAGS,
        summary: 'etcd’s health answer; ?serializable=true, ?exclude=NOSPACE.',
      },
    },
    (request, reply) => health(host, request.query as HealthQuery, reply),
  );
  app.get('/version', { schema: { tags: TAGS, summary: 'Versions.' } }, () => ({
    etcdserver: ETCD_VERSION,
    etcdcluster: ETCD_CLUSTER_VERSION,
    storage: ETCD_CLUSTER_VERSION,
    server: host.version,
    cluster: host.clusterId,
    node: process.version,
  }));
  const metrics = sharedMetrics(host.metrics);
  app.get(
    '/metrics',
    { schema: { tags: TAGS, summary: 'Prometheus metrics.' } },
    async (_request, reply) => reply.type(host.metrics.registry.contentType).send(await metrics()),
  );
  app.get('/v1/status', { schema: { tags: TAGS, summary: 'This member and its replicas.' } }, () =>
    memberStatus(host),
  );
  app.get('/v1/members', { schema: { tags: TAGS, summary: 'All members.' } }, () => host.members);
  app.get(
    '/v1/shards',
    { schema: { tags: TAGS, summary: 'All shards as this member sees them.' } },
    () => shardInfos(host),
  );
  app.get(
    '/v1/slots',
    { schema: { tags: TAGS, summary: 'Load and size by slot, the busiest first.' } },
    () => host.slotLoads.view({}),
  );
}
