import type { AddressInfo } from 'node:net';
import fastifySwagger from '@fastify/swagger';
import fastifySwaggerUi from '@fastify/swagger-ui';
import { KvError } from '@kvorum/base';
import { Ajv } from 'ajv';
import { type FastifyInstance, fastify } from 'fastify';
import { splitAddress } from '../config/address.ts';
import type { Host } from '../host.ts';
import { pause } from '../member/system.ts';
import { limitConnections } from './connection-limits.ts';
import { type DevControl, devRoutes } from './dev-routes.ts';
import { errorBody, errorHandler, sendError } from './error-reply.ts';
import { healthRoutes } from './health-routes.ts';
import { type QuerySchema, typedQuery } from './query.ts';
import { restKvRoutes } from './rest-kv.ts';
import { Sessions } from './sessions.ts';
import { snapshotRoutes } from './snapshot-routes.ts';
import { watchRoute } from './watch-sse.ts';

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 72_000;
const CHECK_MS = 2000;

/** A member's client port. */
export interface ClientServer {
  /** Where it listens, host:port. */
  readonly address: string;
  /** Sends watches and sessions away, waits for requests under way, closes. Bounded by `graceMs`. */
  stop(error: KvError, graceMs: number): Promise<void>;
  /** Cuts every connection in this very turn, without a word, as the death of the process would. */
  kill(): Promise<void>;
}

function createApp(host: Host): FastifyInstance {
  const app = fastify({
    // JSON in base64 is a third larger than the bytes it carries; the exact limit is the router's.
    bodyLimit: host.limits.requestBytesMax * 2 + 65_536,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    return503OnClosing: false,
    // What is refused before routing, such as a URL that does not decode.
    frameworkErrors: (error, _request, reply) => {
      void sendError(reply, new KvError('KV_MALFORMED', error.message));
    },
    routerOptions: { maxParamLength: 8192 },
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_MS,
      maxHeaderSize: 16_384,
    },
  });
  const strict = new Ajv({ allErrors: false, strict: false });
  app.setValidatorCompiler(({ schema, httpPart }) => {
    const validate = strict.compile(schema as object);
    if (httpPart !== 'querystring') return validate;
    return (query: Readonly<Record<string, unknown>>) => {
      const value = typedQuery(query, schema as QuerySchema);
      return validate(value) ? { value } : { error: validate.errors ?? [] };
    };
  });
  app.setErrorHandler(errorHandler(host));
  app.setNotFoundHandler((request, reply) => {
    const error = new KvError('KV_NOT_FOUND', `${request.method} ${request.url}`, {
      details: { hint: 'the requests are listed at /docs' },
    });
    return reply.code(404).send(errorBody(error));
  });
  return app;
}

async function registerDocs(app: FastifyInstance, host: Host): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      info: {
        title: 'Kvorum',
        description: 'The REST interface of kvd.',
        version: host.version,
        license: { name: 'Apache-2.0' },
      },
    },
  });
  await app.register(fastifySwaggerUi, { routePrefix: '/docs' });
}

async function listen(app: FastifyInstance, address: string): Promise<void> {
  const { host, port } = splitAddress(address);
  try {
    await app.listen({ host, port, backlog: 4096 });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new KvError('KV_CONFIG', `cannot listen for clients on ${address}: ${text}`, {
      cause: error,
      details: { hint: 'free the port, or set listenClient' },
    });
  }
}

/**
 * Serves REST, sessions, health and metrics of a member; with `dev` also the control of a development cluster. Errors: KV_CONFIG
 * when the port cannot be had.
 */
export async function startClientServer(
  host: Host,
  listenOn: string,
  dev?: DevControl,
): Promise<ClientServer> {
  const app = createApp(host);
  await registerDocs(app, host);
  restKvRoutes(app, host);
  healthRoutes(app, host);
  snapshotRoutes(app, host);
  const stopWatches = watchRoute(app, host);
  if (dev !== undefined) devRoutes(app, host, dev);
  let active = 0;
  app.addHook('onRequest', (_request, _reply, done) => {
    active += 1;
    done();
  });
  app.addHook('onResponse', (_request, _reply, done) => {
    active -= 1;
    done();
  });
  limitConnections(app.server, host);
  const sessions = new Sessions(host, app.server);
  await listen(app, listenOn);
  const bound = app.server.address() as AddressInfo;
  const name = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return {
    address: `${name}:${bound.port}`,
    async stop(error, graceMs) {
      stopWatches();
      const until = host.clock.nowMs() + graceMs;
      while ((active > 0 || !sessions.idle) && host.clock.nowMs() < until) await pause(10);
      sessions.stop(error);
      await pause(50);
      sessions.terminate();
      await app.close();
    },
    async kill() {
      sessions.terminate();
      app.server.closeAllConnections();
      const closed = app.close();
      stopWatches();
      await closed;
    },
  };
}
