import { ERROR_TABLE, fromUtf8, isErrorCode, KvError, type KvRequest, utf8 } from '@kvorum/base';
import type { RecordedKeyValue, RecordedResponse } from '@kvorum/simulator';
import type { Answered } from './recorder.ts';

/** Beyond a request's own deadline: then nobody is waited for any more. */
const GRACE_MS = 1000;

/** A member as it is asked over HTTP; whether it leads or not, it has to see to it that the request is served. */
export interface Door {
  readonly endpoint: string;
  /** Of the user, where authorization is enabled. */
  readonly token?: string | undefined;
}

export function headersOf({ token }: Pick<Door, 'token'>): Readonly<Record<string, string>> {
  const type = { 'content-type': 'application/json' };
  return token === undefined ? type : { ...type, authorization: `Bearer ${token}` };
}

/** Sends a request over REST, which says of every error whether anything can have happened. Errors: those, and KV_TIMEOUT (unknown). */
export async function viaMember(
  door: Door,
  request: KvRequest,
  timeoutMs: number,
): Promise<Answered> {
  const { op, ...body } = request;
  const path = op === 'delete-range' ? 'delete' : op;
  const answer = await post(
    door,
    `/v1/kv/${path}?timeoutMs=${timeoutMs}`,
    JSON.stringify(plain(body)),
    timeoutMs,
  );
  const response = fromJson({ ...answer.body, op } as JsonResponse);
  return { revision: Number(answer.body['revision']), response };
}

interface Posted {
  readonly body: Readonly<Record<string, unknown>>;
}

async function post(door: Door, path: string, body: string, timeoutMs: number): Promise<Posted> {
  try {
    const answer = await fetch(`${door.endpoint}${path}`, {
      ...{ method: 'POST', headers: headersOf(door), body },
      signal: AbortSignal.timeout(timeoutMs + GRACE_MS),
    });
    const json = (await answer.json()) as Readonly<Record<string, unknown>>;
    if (answer.ok) return { body: json };
    throw errorOf(json);
  } catch (error) {
    if (error instanceof KvError) throw error;
    throw new KvError('KV_TIMEOUT', door.endpoint, { cause: error });
  }
}

function errorOf(json: Readonly<Record<string, unknown>>): KvError {
  const { code, message, outcome } = json['error'] as Readonly<Record<string, unknown>>;
  if (typeof code !== 'string' || !isErrorCode(code)) throw new TypeError(JSON.stringify(json));
  const told = outcome === 'not-applied' ? outcome : ERROR_TABLE[code].outcome;
  return new KvError(code, String(message), { outcome: outcome === 'unknown' ? 'unknown' : told });
}

/** Bytes as texts: this load has no others; 64-bit integers in quotes. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return fromUtf8(value);
  if (typeof value === 'bigint') return `${value}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)]));
}

interface JsonKeyValue {
  readonly key: string;
  readonly value: string;
  readonly modRevision: number;
  readonly createRevision: number;
  readonly version: number;
}

type JsonResponse =
  | { readonly op: 'put' | 'compact' }
  | { readonly op: 'range'; readonly kvs: readonly JsonKeyValue[] }
  | { readonly op: 'delete-range'; readonly deleted: number }
  | {
      readonly op: 'txn';
      readonly succeeded: boolean;
      readonly responses: readonly JsonResponse[];
    };

function fromJson(response: JsonResponse): RecordedResponse {
  switch (response.op) {
    case 'range':
      return { op: 'range', kvs: response.kvs.map(keyValueFromJson) };
    case 'delete-range':
      return { op: 'delete-range', deleted: response.deleted };
    case 'txn': {
      const { succeeded, responses } = response;
      return { op: 'txn', succeeded, responses: responses.map(fromJson) };
    }
    default:
      return { op: response.op };
  }
}

function keyValueFromJson(kv: JsonKeyValue): RecordedKeyValue {
  const { modRevision, createRevision, version } = kv;
  return { key: utf8(kv.key), value: utf8(kv.value), modRevision, createRevision, version };
}
