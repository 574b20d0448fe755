import { type Needs, noNeeds } from '@kvorum/auth';
import { fromBase64, isKvError, KvError, tryUtf8 } from '@kvorum/base';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Password } from '../auth/auth-operations.ts';
import type { Identity } from '../auth/identity.ts';
import type { Host } from '../host.ts';

/**
 * Who may use a route. `open`: everybody. `user`: whoever has logged in. `asks`: the same, and its handler asks about each request
 * ({@link checkAllowed}). Every route that is not listed is for root.
 */
type RouteRule = 'open' | 'user' | 'asks' | 'root';

const RULES: Readonly<Record<string, RouteRule>> = {
  '/livez': 'open',
  '/livez/:check': 'open',
  '/readyz': 'open',
  '/readyz/:check': 'open',
  '/health': 'open',
  '/version': 'open',
  '/metrics': 'open',
  '/v1/kv/keys/*': 'asks',
  '/v1/kv/put': 'asks',
  '/v1/kv/range': 'asks',
  '/v1/kv/delete': 'asks',
  '/v1/kv/txn': 'asks',
  '/v1/kv/compact': 'asks',
  '/v1/kv/watch': 'asks',
  '/v1/status': 'user',
  '/v1/members': 'user',
  '/v1/shards': 'user',
  '/v1/shard-map': 'user',
};

/** The pages that describe the interface, and etcd's JSON gateway, whose calls pass the guard of the services. */
const OPEN_BELOW = ['/docs', '/v3/'];

function ruleOf(request: FastifyRequest): RouteRule {
  const { url } = request.routeOptions;
  if (url === undefined) return 'open'; // no route: nothing but "not found"
  if (OPEN_BELOW.some((path) => url === path || url.startsWith(path))) return 'open';
  return Object.hasOwn(RULES, url) ? (RULES[url] ?? 'root') : 'root';
}

const identities = new WeakMap<FastifyRequest, Identity>();

/** Who sends a request; undefined while authorization is not enabled. */
export function identityOf(request: FastifyRequest): Identity | undefined {
  return identities.get(request);
}

/** `Bearer` carries a token. */
async function identify(host: Host, request: FastifyRequest): Promise<Identity | undefined> {
  const { authorization } = request.headers;
  if (authorization === undefined) return undefined;
  const { gate } = host.auth;
  const [scheme = '', value = ''] = authorization.split(' ');
  if (scheme.toLowerCase() === 'bearer') return gate.identify(value);
  const shown = passwordOf(request);
  if (shown === undefined) throw new KvError('KV_UNAUTHENTICATED');
  return gate.logInAgain(shown.user, shown.password);
}

/** `Basic` carries user and password. */
export function passwordOf({ headers }: FastifyRequest): Password | undefined {
  const [scheme = '', value = ''] = headers.authorization?.split(' ') ?? [];
  const text = scheme.toLowerCase() === 'basic' ? textOf(value) : undefined;
  const at = text?.indexOf(':') ?? -1;
  if (text === undefined || at < 0) return undefined;
  return { user: text.slice(0, at), password: text.slice(at + 1) };
}

function textOf(base64: string): string | undefined {
  const bytes = fromBase64(base64);
  return bytes === undefined ? undefined : tryUtf8(bytes);
}

async function admit(host: Host, request: FastifyRequest): Promise<void> {
  const { gate } = host.auth;
  await gate.ready(undefined);
  if (!gate.isEnabled) return;
  const who = await identify(host, request);
  const refusal = gate.refusal(who, { ...noNeeds(), root: ruleOf(request) === 'root' });
  if (refusal !== undefined) throw refusal;
  if (who !== undefined) identities.set(request, who);
}

/** Asks about every request to a route of the app before its body is read. */
export function guardRoutes(app: FastifyInstance, host: Host): void {
  app.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    if (host.auth.source.isOpen || ruleOf(request) === 'open') return;
    try {
      await admit(host, request);
    } catch (error) {
      const isUnknown = isKvError(error) && error.httpStatus === 401;
      if (isUnknown) reply.header('www-authenticate', 'Basic realm="kvorum"');
      throw error;
    }
  });
}

/** What a handler under the rule `asks` asks about each request. Errors: why it is not allowed. */
export async function checkAllowed(
  host: Host,
  request: FastifyRequest,
  needs: () => Needs,
): Promise<void> {
  const { gate, source } = host.auth;
  if (source.isOpen || !gate.isEnabled) return;
  await gate.authorize(identityOf(request), needs());
}

/** Calls `forbidden` once when what was allowed at the start of a stream is not any more; returns how to stop that. */
export function whenForbidden(
  host: Host,
  request: FastifyRequest,
  needs: Needs,
  forbidden: (error: KvError) => void,
): () => void {
  const { gate, source } = host.auth;
  const stop = source.onChange(() => {
    const refusal = source.isOpen ? undefined : gate.refusal(identityOf(request), needs);
    if (refusal === undefined) return;
    stop();
    forbidden(refusal);
  });
  return stop;
}
