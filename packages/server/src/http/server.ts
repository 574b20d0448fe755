import { lookup } from 'node:dns/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fastifySwagger from '@fastify/swagger';
import fastifySwaggerUi from '@fastify/swagger-ui';
import { KvError } from '@kvorum/base';
import { Ajv } from 'ajv';
import { type FastifyInstance, fastify } from 'fastify';
import { splitAddress } from '../config/address.ts';
import { etcdServices } from '../etcd/etcd-services.ts';
import { Gateway } from '../etcd/gateway/gateway.ts';
import { gatewayRoutes } from '../etcd/gateway/routes.ts';
import { GrpcServer } from '../etcd/grpc/grpc-server.ts';
import type { Host } from '../host.ts';
import type { ClientTls } from '../member/client-tls.ts';
import { pause } from '../member/system.ts';
import { limitConnections } from './connection-limits.ts';
import { type DevControl, devRoutes } from './dev-routes.ts';
import { errorBody, errorHandler, sendError } from './error-reply.ts';
import { healthRoutes } from './health-routes.ts';
import { countMemory } from './http-memory.ts';
import { type QuerySchema, typedQuery } from './query.ts';
import { guardRoutes } from './rest-access.ts';
import { restKvRoutes } from './rest-kv.ts';
import { Sessions } from './sessions.ts';
import { sharePort } from './share-port.ts';
import { snapshotRoutes } from './snapshot-routes.ts';
import { UpgradingRequest } from './upgrading-request.ts';
import { watchRoute } from './watch-sse.ts';

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 72_000;
const CHECK_MS = 2000;
/** A stop reads for so long what was on its way. */
const DRAIN_MS = 50;
/** A busy process has read nothing in that time: a connection is accepted in one turn, told apart in the next, read in a third. */
const DRAIN_TURNS = 5;
const BACKLOG = 4096;

/** A member's client port. */
export interface ClientServer {
  /** Where it listens, host:port. */
  readonly address: string;
  /** Sends watches and sessions away, waits for requests under way, closes. Bounded by `graceMs`. */
  stop(error: KvError, graceMs: number): Promise<void>;
  /** Cuts every connection in this very turn, without a word, as the death of the process would. */
  kill(): Promise<void>;
}

export interface ClientServerOptions {
  readonly dev?: DevControl | undefined;
  readonly tls?: ClientTls | undefined;
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
      IncomingMessage: UpgradingRequest,
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

/** `localhost` has two addresses; clients try either. Connections of the second one are the server's as if it had accepted them. */
async function listenOnSecond(app: FastifyInstance, hostName: string): Promise<Server | undefined> {
  const bound = app.server.address() as AddressInfo;
  const addresses = await lookup(hostName, { all: true });
  const other = addresses.find(({ address }) => address !== bound.address);
  if (other === undefined) return undefined;
  const forward = (socket: Socket): unknown => app.server.emit('connection', socket);
  const second = createServer({ noDelay: true }, forward);
  return new Promise((resolve) => {
    second.once('error', () => resolve(undefined)); // a machine without IPv6
    second.listen({ host: other.address, port: bound.port, backlog: BACKLOG }, () =>
      resolve(second),
    );
  });
}

/** Returns what else listens beside the app's own server. */
async function listen(app: FastifyInstance, address: string): Promise<Server | undefined> {
  const { host, port } = splitAddress(address);
  try {
    if (host !== 'localhost') {
      await app.listen({ host, port, backlog: BACKLOG });
      return undefined;
    }
    // By its first address: given the name, fastify listens on the others with servers that speak HTTP/1 alone.
    const first = await lookup(host);
    await app.listen({ host: first.address, port, backlog: BACKLOG });
    return await listenOnSecond(app, host);
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
  { dev, tls }: ClientServerOptions = {},
): Promise<ClientServer> {
  const app = createApp(host);
  await registerDocs(app, host);
  restKvRoutes(app, host);
  healthRoutes(app, host);
  snapshotRoutes(app, host);
  const stopWatches = watchRoute(app, host);
  if (dev !== undefined) devRoutes(app, host, dev);
  let active = 0;
  app.addHook('onRequest', (_request, reply, done) => {
    active += 1;
    // Also when the client went before its answer, of which the hook for answers says nothing.
    reply.raw.once('close', () => {
      active -= 1;
    });
    done();
  });
  // After the count: a request that waits to be let through is one that was taken.
  guardRoutes(app, host);
  countMemory(app, host);
  const services = etcdServices(host);
  const gateway = new Gateway(host, services);
  await gatewayRoutes(app, gateway);
  const grpc = new GrpcServer(host, services);
  const cutUndecided = sharePort(app.server, (socket) => grpc.accept(socket), tls);
  limitConnections(app.server, host);
  const sessions = new Sessions(host, app.server, (path) => gateway.upgradeOf(path));
  const second = await listen(app, listenOn);
  const bound = app.server.address() as AddressInfo;
  const name = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
  return {
    address: `${name}:${bound.port}`,
    async stop(error, graceMs) {
      stopWatches();
      grpc.stop(error);
      gateway.stop(error);
      const until = host.clock.nowMs() + graceMs;
      const idle = (): boolean => active === 0 && sessions.idle && grpc.idle && gateway.idle;
      const untilIdle = async (): Promise<void> => {
        while (!idle() && host.clock.nowMs() < until) await pause(10);
      };
      await untilIdle();
      sessions.stop(error);
      // What was on its way here meanwhile is read, and told to go elsewhere.
      await pause(DRAIN_MS);
      for (let turn = 0; turn < DRAIN_TURNS; turn += 1) await nextTurn();
      await untilIdle();
      sessions.terminate();
      grpc.terminate();
      gateway.terminate();
      cutUndecided();
      second?.close();
      await app.close();
    },
    async kill() {
      sessions.terminate();
      grpc.terminate();
      gateway.terminate();
      cutUndecided();
      app.server.closeAllConnections();
      second?.close();
      const closed = app.close();
      stopWatches();
      await closed;
    },
  };
}
