import { InvariantError, isKvError, KvError } from '@kvorum/base';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Host } from '../host.ts';
import { discardBody } from './refused-body.ts';

/** The body of every refused REST request. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly retry: string;
    readonly outcome: string;
    readonly details: object;
  };
}

export function errorBody(error: KvError): ErrorBody {
  const { code, message, retry, outcome, details } = error;
  return { error: { code, message, retry, outcome, details } };
}

/** What fastify itself refuses, as an error of ours; undefined for anything else. */
function fromFramework(error: FastifyError, host: Host): KvError | undefined {
  const status = error.statusCode ?? 500;
  if (status === 413) {
    const limit = host.limits.requestBytesMax;
    return new KvError('KV_REQUEST_TOO_LARGE', `at most ${limit} bytes`, { details: { limit } });
  }
  if (error.validation !== undefined) {
    return new KvError('KV_INVALID_ARGUMENT', validationText(error), {
      details: { hint: 'the request format is at /docs' },
    });
  }
  if (status < 400 || status >= 500) return undefined;
  const types = 'application/json, or for a raw value text/plain or application/octet-stream';
  const hint = status === 415 ? { hint: `send content-type: ${types}` } : {};
  return new KvError('KV_MALFORMED', error.message, { details: hint });
}

function validationText(error: FastifyError): string {
  const [first] = error.validation ?? [];
  const extra = first?.params['additionalProperty'];
  return typeof extra === 'string' ? `unknown option ${extra} (${error.message})` : error.message;
}

export function sendError(reply: FastifyReply, error: KvError): FastifyReply {
  if (error.httpStatus === 429 || error.httpStatus === 503) reply.header('retry-after', '1');
  return reply.code(error.httpStatus).type('application/json').send(errorBody(error));
}

const KEY_METHODS: Readonly<Record<string, string>> = {
  GET: 'get',
  HEAD: 'get',
  PUT: 'put',
  DELETE: 'delete-range',
};

/** The method of a REST request in the metrics, as the native protocol has them: few, whatever clients ask. */
export function restMethod(request: FastifyRequest): string {
  const url = request.routeOptions.url ?? '';
  if (url.startsWith('/v1/kv/keys/')) return KEY_METHODS[request.method] ?? 'other';
  if (!url.startsWith('/v1/kv/')) return 'other';
  const name = url.slice('/v1/kv/'.length);
  return name === 'delete' ? 'delete-range' : name;
}

/** The one error handler of the HTTP side. A bug stops the process: halting beats going on with a broken invariant. */
export function errorHandler(host: Host) {
  return async (
    error: FastifyError,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> => {
    if (await discardBody(request.raw)) reply.removeHeader('connection');
    const known = isKvError(error) ? error : fromFramework(error, host);
    if (known !== undefined) {
      host.metrics.requests.count('rest', restMethod(request), known.code);
      return sendError(reply, known);
    }
    host.logger.error({ err: error, url: request.url }, 'request failed on a bug');
    if (error instanceof InvariantError) {
      setImmediate(() => {
        throw error;
      });
    }
    return reply.code(500).send({ error: { code: 'INTERNAL', message: 'internal error' } });
  };
}
