import { isPlain, type Plain } from '@kvorum/base';
import type { Context } from './context.ts';
import { askJson, type MemberCall } from './member-http.ts';

/** `127.0.0.1:2379` and `http://127.0.0.1:2379` mean the same. */
export const urlOf = (endpoint: string): string =>
  (endpoint.includes('://') ? endpoint : `http://${endpoint}`).replace(/\/+$/, '');

/** What is asked of etcd's services through their JSON gateway, as whoever the command line says. */
export interface EtcdCall {
  /** Behind `/v3/`. */
  readonly path: string;
  readonly body?: Plain;
  /** Of the members that may answer; absent: all of --endpoints. */
  readonly urls?: readonly string[];
  /** For this long and no longer; absent: --timeout. */
  readonly timeoutMs?: number;
}

async function callOf(context: Context, call: EtcdCall): Promise<MemberCall> {
  const { endpoints, timeoutMs: patienceMs, timeoutGiven, dialMs } = context.globals();
  const { path, body = {}, urls = endpoints.map(urlOf), timeoutMs = patienceMs } = call;
  return {
    urls,
    path: `/v3/${path}`,
    tls: context.tls(),
    authorization: await authorizationOf(context, path),
    signal: AbortSignal.any([context.io.signal, AbortSignal.timeout(timeoutMs)]),
    retryMs: timeoutGiven ? timeoutMs : Math.min(timeoutMs, dialMs),
    body: { type: 'application/json', bytes: Buffer.from(JSON.stringify(body)) },
  };
}

async function authorizationOf(context: Context, path: string): Promise<string | undefined> {
  const credentials = context.credentials();
  if (credentials === undefined || path === 'auth/authenticate') return undefined;
  if ('token' in credentials) return credentials.token;
  const { user: name, password } = credentials;
  const { token } = await askEtcd(context, { path: 'auth/authenticate', body: { name, password } });
  return typeof token === 'string' ? token : '';
}

/** Errors: those of the service, KV_UNAVAILABLE when nobody answers. */
export async function askEtcd(context: Context, call: EtcdCall): Promise<Plain> {
  const answer = await askJson(await callOf(context, call));
  return isPlain(answer) ? answer : {};
}
