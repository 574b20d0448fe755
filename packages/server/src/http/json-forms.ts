import {
  err,
  fromBase64,
  type KeyValue,
  KvError,
  type KvRequest,
  type KvResponse,
  ok,
  prefixEnd,
  type Result,
  type TxnOpResponse,
  tryUtf8,
  utf8,
  type WatchEvent,
} from '@kvorum/base';
import { parseKvRequest } from '@kvorum/wire';

/**
 * JSON of the REST interface. Bytes come in as a string (UTF-8) or {"base64": "…"}; they go out under their name when they
 * are valid UTF-8, else under the name + "Base64". Revisions are numbers, 64-bit ids are strings.
 */
type Json = Readonly<Record<string, unknown>>;

class BadField extends Error {}

function toBytes(value: unknown, path: string): Uint8Array {
  if (typeof value === 'string') return utf8(value);
  if (typeof value === 'object' && value !== null && 'base64' in value) {
    const bytes = typeof value.base64 === 'string' ? fromBase64(value.base64) : undefined;
    if (bytes !== undefined && Object.keys(value).length === 1) return bytes;
  }
  throw new BadField(`${path} must be a string or {"base64": "..."}`);
}

function toLease(value: unknown, path: string): unknown {
  if (typeof value !== 'string') return value;
  if (/^-?[0-9]{1,19}$/.test(value)) return BigInt(value);
  throw new BadField(`${path} must be a 64-bit integer in quotes`);
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function compareToPlain(value: unknown, path: string): unknown {
  if (!isJson(value)) return value;
  const out = rangeToPlain(value, path);
  if (value['target'] === 'value') out['value'] = toBytes(value['value'], `${path}.value`);
  if (value['target'] === 'lease') out['value'] = toLease(value['value'], `${path}.value`);
  return out;
}

/** Key and range end as bytes; `prefix: true` stands for the range end of that prefix. */
function rangeToPlain(value: Json, path: string): Record<string, unknown> {
  const { prefix, ...out } = value as Record<string, unknown>;
  if (out['key'] !== undefined) out['key'] = toBytes(out['key'], `${path}.key`);
  if (out['rangeEnd'] !== undefined) out['rangeEnd'] = toBytes(out['rangeEnd'], `${path}.rangeEnd`);
  if (prefix === undefined || prefix === false) return out;
  if (prefix !== true) throw new BadField(`${path}.prefix must be true or false`);
  if (out['rangeEnd'] !== undefined) throw new BadField(`${path} has both prefix and rangeEnd`);
  const { key } = out;
  if (!(key instanceof Uint8Array)) throw new BadField(`${path}.key is missing`);
  out['rangeEnd'] = prefixEnd(key);
  // An empty prefix is every key; etcd spells the lowest key as one zero byte.
  if (key.length === 0) out['key'] = new Uint8Array([0]);
  return out;
}

const DEPTH_MAX = 32;

function toPlain(value: unknown, path: string, depth: number): unknown {
  if (!isJson(value) || depth > DEPTH_MAX) return value;
  const list = (name: string, each: (item: unknown, path: string) => unknown): unknown => {
    const items = value[name];
    return Array.isArray(items)
      ? items.map((item, i) => each(item, `${path}.${name}[${i}]`))
      : items;
  };
  const nested = (item: unknown, at: string): unknown => toPlain(item, at, depth + 1);
  switch (value['op']) {
    case 'range':
    case 'delete-range':
      return rangeToPlain(value, path);
    case 'put': {
      const out: Record<string, unknown> = { ...value };
      out['key'] = toBytes(value['key'], `${path}.key`);
      out['value'] = toBytes(value['value'] ?? '', `${path}.value`);
      if (value['lease'] !== undefined) out['lease'] = toLease(value['lease'], `${path}.lease`);
      return out;
    }
    case 'txn':
      return {
        ...value,
        compare: list('compare', compareToPlain),
        success: list('success', nested),
        failure: list('failure', nested),
      };
    default:
      return value;
  }
}

/** A request from JSON. Errors: KV_MALFORMED naming the field and what was expected. */
export function requestFromJson(op: KvRequest['op'], body: object): Result<KvRequest, KvError> {
  try {
    return parseKvRequest(toPlain({ ...body, op }, 'request', 0));
  } catch (error) {
    if (error instanceof BadField) return err(new KvError('KV_MALFORMED', error.message));
    throw error;
  }
}

/** Key and range end of a watch or range given as JSON. Errors: KV_MALFORMED. */
export function rangeFromJson(
  body: object,
): Result<{ readonly key: Uint8Array; readonly rangeEnd: Uint8Array | undefined }, KvError> {
  const request = requestFromJson('range', body);
  if (!request.ok) return request;
  if (request.value.op !== 'range') return err(new KvError('KV_MALFORMED', 'not a range'));
  return ok({ key: request.value.key, rangeEnd: request.value.rangeEnd });
}

/** `{value: "text"}` or `{valueBase64: "…"}`. */
export function bytesToJson(name: string, bytes: Uint8Array): Json {
  const text = tryUtf8(bytes);
  return text === undefined
    ? { [`${name}Base64`]: Buffer.from(bytes).toString('base64') }
    : { [name]: text };
}

export function kvToJson(kv: KeyValue): Json {
  return {
    ...bytesToJson('key', kv.key),
    ...bytesToJson('value', kv.value),
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
    version: kv.version,
    ...(kv.lease === 0n ? {} : { lease: kv.lease.toString() }),
  };
}

export function eventToJson(event: WatchEvent, shard: string): Json {
  const prev = event.prevKv === undefined ? {} : { prevKv: kvToJson(event.prevKv) };
  if (event.type === 'put') return { type: 'put', shard, ...kvToJson(event.kv), ...prev };
  const { key, modRevision } = event.kv;
  return { type: 'delete', shard, ...bytesToJson('key', key), modRevision, ...prev };
}

export function responseToJson(response: KvResponse): Json {
  switch (response.op) {
    case 'range':
      return { ...response, kvs: response.kvs.map(kvToJson) };
    case 'put':
      return {
        ...response,
        ...(response.prevKv === undefined ? {} : { prevKv: kvToJson(response.prevKv) }),
      };
    case 'delete-range':
      return { ...response, prevKvs: response.prevKvs.map(kvToJson) };
    case 'txn':
      return {
        ...response,
        responses: response.responses.map((inner: TxnOpResponse) => responseToJson(inner)),
      };
    case 'compact':
      return { ...response };
  }
}
