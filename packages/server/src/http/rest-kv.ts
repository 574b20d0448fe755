import { needsOf } from '@kvorum/auth';
import { fromBase64, KvError, type KvRequest, type Origin, originOf } from '@kvorum/base';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Host } from '../host.ts';
import type { RoutedResponse, RouteOptions } from '../router/router.ts';
import { restMethod } from './error-reply.ts';
import { bytesToJson, kvToJson, requestFromJson, responseToJson } from './json-forms.ts';
import { checkAllowed, identityOf } from './rest-access.ts';
import {
  COMPACT_BODY,
  DELETE_BODY,
  DELETE_QUERY,
  GET_QUERY,
  KEY_QUERY,
  PUT_BODY,
  RANGE_BODY,
  TIMEOUT_QUERY,
  TXN_BODY,
} from './rest-schemas.ts';

type Query = Readonly<Record<string, unknown>>;
type Answer = Readonly<Record<string, unknown>>;

/** The key in the path, as it was encoded. */
function pathKey(request: FastifyRequest): Uint8Array {
  const text = (request.params as Readonly<Record<string, string>>)['*'] ?? '';
  if ((request.query as Query)['encoding'] !== 'base64') return new TextEncoder().encode(text);
  const bytes = fromBase64(text);
  if (bytes === undefined) throw new KvError('KV_MALFORMED', 'the key in the path is not base64');
  return bytes;
}

/** REST clients name themselves in a header, for the audit. */
const CLIENT_NAME_HEADER = 'kvorum-client-name';

function originFrom(request: FastifyRequest): Origin | undefined {
  const name = request.headers[CLIENT_NAME_HEADER];
  return originOf(identityOf(request)?.user ?? '', typeof name === 'string' ? name : '');
}

function routeOptions(host: Host, request: FastifyRequest, shard?: string): RouteOptions {
  const timeoutMs = (request.query as Query)['timeoutMs'];
  const wanted = typeof timeoutMs === 'number' ? timeoutMs : host.limits.requestTimeoutMs;
  return {
    deadlineMs: host.clock.nowMs() + wanted,
    origin: originFrom(request),
    ...(shard === undefined ? {} : { shard }),
  };
}

async function execute(
  host: Host,
  http: FastifyRequest,
  request: KvRequest,
  shard?: string,
): Promise<Answer> {
  const { response, shards } = await route(host, http, request, shard);
  host.metrics.requests.count('rest', restMethod(http), 'OK');
  const { op: _op, ...fields } = responseToJson(response);
  return { ...fields, shards };
}

/** The one way from here to the router. */
async function route(
  host: Host,
  http: FastifyRequest,
  request: KvRequest,
  shard?: string,
): Promise<RoutedResponse> {
  const refusal = host.refusal();
  if (refusal !== undefined) throw refusal;
  await checkAllowed(host, http, () => needsOf(request));
  return host.router.execute(request, routeOptions(host, http, shard));
}

function bodyRequest(op: KvRequest['op'], body: object): KvRequest {
  const request = requestFromJson(op, body);
  if (!request.ok) throw request.error;
  return request.value;
}

/** PUT, GET and DELETE of one key under its own URL. */
function keyRoutes(app: FastifyInstance, host: Host): void {
  const tags = ['keys'];
  app.put('/v1/kv/keys/*', {
    schema: {
      tags,
      summary:
        'Put one key. Body: the raw value (text/plain or application/octet-stream), or JSON {"value": ...}.',
      querystring: KEY_QUERY,
    },
    handler: async (http) => {
      const key = { base64: Buffer.from(pathKey(http)).toString('base64') };
      if (http.body instanceof Uint8Array) {
        return execute(host, http, { op: 'put', key: pathKey(http), value: http.body });
      }
      if (typeof http.body !== 'object' || http.body === null) {
        throw new KvError('KV_MALFORMED', 'the body must be a value or JSON {"value": ...}');
      }
      return execute(host, http, bodyRequest('put', { ...http.body, key }));
    },
  });
  app.get('/v1/kv/keys/*', {
    schema: { tags, summary: 'Read one key.', querystring: GET_QUERY },
    handler: async (http) => {
      const { revision, serializable } = http.query as {
        revision?: number;
        serializable?: boolean;
      };
      const key = pathKey(http);
      const { response, shards } = await route(host, http, {
        op: 'range',
        key,
        ...(revision === undefined ? {} : { revision }),
        ...(serializable === undefined ? {} : { serializable }),
      });
      const [kv] = response.op === 'range' ? response.kvs : [];
      if (kv === undefined) {
        const name = bytesToJson('key', key);
        throw new KvError(
          'KV_NOT_FOUND',
          `no key ${JSON.stringify(name['key'] ?? name['keyBase64'])}`,
          {
            details: { currentRevision: response.revision },
          },
        );
      }
      host.metrics.requests.count('rest', restMethod(http), 'OK');
      return { revision: response.revision, shards, ...kvToJson(kv) };
    },
  });
  app.delete('/v1/kv/keys/*', {
    schema: { tags, summary: 'Delete one key.', querystring: DELETE_QUERY },
    handler: async (http) => {
      const { prevKv } = http.query as { prevKv?: boolean };
      return execute(host, http, {
        op: 'delete-range',
        key: pathKey(http),
        ...(prevKv === undefined ? {} : { prevKv }),
      });
    },
  });
}

/** The requests of kv-api.ts as JSON bodies. */
function bodyRoutes(app: FastifyInstance, host: Host): void {
  const routes: readonly (readonly [string, KvRequest['op'], object, string])[] = [
    ['/v1/kv/put', 'put', PUT_BODY, 'Put one key.'],
    [
      '/v1/kv/range',
      'range',
      RANGE_BODY,
      'Read a key, a prefix or a range; a range over several shards is not atomic.',
    ],
    [
      '/v1/kv/delete',
      'delete-range',
      DELETE_BODY,
      'Delete a key, a prefix or a range of one shard.',
    ],
    [
      '/v1/kv/txn',
      'txn',
      TXN_BODY,
      'Compare, then one of two lists of operations, atomically in one shard.',
    ],
  ];
  for (const [url, op, body, summary] of routes) {
    app.post(url, {
      schema: { tags: ['kv'], summary, body, querystring: TIMEOUT_QUERY },
      handler: async (http) => execute(host, http, bodyRequest(op, http.body as object)),
    });
  }
  app.post('/v1/kv/compact', {
    schema: {
      tags: ['kv'],
      summary: 'Drop the versions that newer ones at or below `revision` supersede.',
      body: COMPACT_BODY,
      querystring: TIMEOUT_QUERY,
    },
    handler: async (http) => {
      const { shard, ...body } = http.body as { shard: string };
      return execute(host, http, bodyRequest('compact', body), shard);
    },
  });
}

/** Registers the REST routes of the key-value service. */
export function restKvRoutes(app: FastifyInstance, host: Host): void {
  for (const type of ['text/plain', 'application/octet-stream']) {
    app.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, body, done) => {
      done(null, body);
    });
  }
  keyRoutes(app, host);
  bodyRoutes(app, host);
}
