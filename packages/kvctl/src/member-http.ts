import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ERROR_TABLE, type ErrorDetails, errorSpec, isErrorCode, KvError } from '@kvorum/base';
import type { ConnectOptions } from '@kvorum/client';

/** No byte for so long: the member is gone. It is silent while it computes the hash of a large shard. */
const STALLED_MS = 600_000;
const RETRY_MS = 200;
/** A leader is elected by then, or the cluster needs help. */
const RETRY_MS_MAX = 30_000;

export interface MemberCall {
  /** Of the members that may answer, the best first. */
  readonly urls: readonly string[];
  readonly path: string;
  readonly tls: ConnectOptions['tls'];
  /** Of the header of that name. */
  readonly authorization?: string | undefined;
  readonly signal: AbortSignal;
  /** How long one goes on asking when nobody can do it yet; absent: half a minute. */
  readonly retryMs?: number;
  readonly body?: { readonly type: string; readonly bytes: Uint8Array };
}

function send(url: string, call: MemberCall): Promise<IncomingMessage> {
  const { authorization, body, signal } = call;
  const target = new URL(call.path, url);
  const start = target.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = start(
      target,
      {
        ...call.tls,
        signal,
        timeout: STALLED_MS,
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          ...(authorization === undefined ? {} : { authorization }),
          ...(body === undefined
            ? {}
            : { 'content-type': body.type, 'content-length': body.bytes.length }),
        },
      },
      resolve,
    );
    request.on('timeout', () => request.destroy(new Error(`${url} sends nothing any more`)));
    request.on('error', (error) => {
      reject(
        new KvError('KV_UNAVAILABLE', `${url}: ${error.message || error.name}`, { cause: error }),
      );
    });
    request.end(body?.bytes);
  });
}

async function bytesOf(response: IncomingMessage): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of response) parts.push(part as Uint8Array);
  return Buffer.concat(parts);
}

interface Refusal {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly details?: ErrorDetails;
}

async function refusalOf(response: IncomingMessage): Promise<KvError> {
  const text = Buffer.from(await bytesOf(response)).toString('utf8');
  try {
    const { error, message: said } = JSON.parse(text) as Refusal & { readonly error?: Refusal };
    if (typeof said === 'string') return fromGateway(said);
    const { code, message, details } = error ?? {};
    if (isErrorCode(code) && typeof message === 'string') {
      // The new error starts with the same words.
      const why = message.replace(`${errorSpec(code).message}: `, '');
      return new KvError(code, why, { details: details ?? {} });
    }
  } catch {
    // no JSON: said below
  }
  return new KvError('KV_UNAVAILABLE', `HTTP ${response.statusCode}`);
}

/** etcd's gateway sends a text: where it is one of the table its code is known. */
function fromGateway(message: string): KvError {
  const code = Object.keys(ERROR_TABLE).filter(isErrorCode);
  const known = code.find((one) => message === errorSpec(one).message);
  return known === undefined
    ? new KvError('KV_INVALID_ARGUMENT', message.replace('kv: invalid request: ', ''))
    : new KvError(known);
}

/** Another member, or the same one a little later, may do it. */
const mayPass = (error: unknown): boolean =>
  error instanceof KvError &&
  (error.code === 'KV_NOT_FOUND' || ['backoff', 'other-member', 'read-back'].includes(error.retry));

const NOBODY = new KvError('KV_UNAVAILABLE', 'no member has the shard');

/** Whoever does not hold the shard says least: only who does. */
const saysMore = (error: unknown, last: KvError): error is KvError =>
  error instanceof KvError && (error.code !== 'KV_NOT_FOUND' || last === NOBODY);

/** The first answer; else the error of the last that refused for a while only. Errors: what no other member can mend. */
async function askOnce(call: MemberCall): Promise<IncomingMessage | KvError> {
  let last = NOBODY;
  for (const url of call.urls) {
    try {
      const response = await send(url, call);
      if (response.statusCode === 200) return response;
      throw await refusalOf(response);
    } catch (error) {
      if (call.signal.aborted || !mayPass(error)) throw error;
      if (saysMore(error, last)) last = error;
    }
  }
  return last;
}

/**
 * Asks the members one after the other until one does it; what it asks may be done twice.
 * Errors: the first that no other member can mend; the last one when `retryMs` are over.
 */
export async function askMembers(call: MemberCall): Promise<IncomingMessage> {
  const untilMs = performance.now() + (call.retryMs ?? RETRY_MS_MAX);
  for (;;) {
    const answer = await askOnce(call);
    if (!(answer instanceof KvError)) return answer;
    if (performance.now() >= untilMs) throw answer;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

export async function askJson(call: MemberCall): Promise<unknown> {
  return JSON.parse(Buffer.from(await bytesOf(await askMembers(call))).toString('utf8'));
}

/** The body of an answer; an answer that breaks off is an error. */
export async function* askStream(call: MemberCall): AsyncGenerator<Uint8Array, void, undefined> {
  const response = await askMembers(call);
  try {
    for await (const piece of response) yield piece as Uint8Array;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new KvError('KV_UNAVAILABLE', `the copy broke off: ${why}`, {
      cause: error,
      details: { hint: 'the member that sent it is gone: run the same command again' },
    });
  }
}
