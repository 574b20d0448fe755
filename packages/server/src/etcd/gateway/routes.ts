import type { FastifyInstance, FastifyReply } from 'fastify';
import type { GrpcStatus } from '../errors.ts';
import { GRPC_STATUS } from '../grpc-error.ts';
import type { Gateway } from './gateway.ts';
import { httpStatusOf, statusBody } from './http-status.ts';

const PREFIX = '/v3';
const NOT_ALLOWED: GrpcStatus = {
  code: GRPC_STATUS.UNIMPLEMENTED,
  message: 'Method Not Allowed',
};
const NOT_FOUND: GrpcStatus = { code: GRPC_STATUS.NOT_FOUND, message: 'Not Found' };

function refuse(status: GrpcStatus, reply: FastifyReply): FastifyReply {
  return reply.code(httpStatusOf(status)).type('application/json').send(statusBody(status));
}

/** Gives the gateway everything below /v3 of a client port. */
export async function gatewayRoutes(app: FastifyInstance, gateway: Gateway): Promise<void> {
  const plugin = (scope: FastifyInstance, _options: object, done: () => void): void => {
    scope.removeAllContentTypeParsers();
    // The gateway reads the body, whatever its type is said to be: curl says it is a form.
    scope.addContentTypeParser('*', (_request, _body, next) => next(null));
    for (const path of gateway.paths) {
      scope.post(path.slice(PREFIX.length), { schema: { hide: true } }, (request, reply) => {
        const method = gateway.method(path);
        if (method === undefined) return refuse(NOT_FOUND, reply);
        reply.hijack();
        gateway.serve(method, request.raw, reply.raw);
        return reply;
      });
    }
    scope.setNotFoundHandler((request, reply) => {
      const path = request.url.split('?')[0] ?? '';
      return refuse(gateway.method(path) === undefined ? NOT_FOUND : NOT_ALLOWED, reply);
    });
    // Of what comes before the handler, such as a content type that is none.
    scope.setErrorHandler((error: Error, _request, reply) =>
      refuse({ code: GRPC_STATUS.INVALID_ARGUMENT, message: error.message }, reply),
    );
    done();
  };
  await app.register(plugin, { prefix: PREFIX });
}
