import {
  type Compare,
  type KvRequest,
  type Plain,
  tryUtf8,
  type WatchFilter,
  type WatchRequest,
} from '@kvorum/base';
import { parseKvRequest } from '@kvorum/wire';
import {
  bad,
  bytes,
  counter,
  flag,
  id64,
  list,
  object,
  oneOf,
  onlyFields,
  optional,
  text,
  time,
} from './plain-fields.ts';
import {
  HISTORY_VERSION,
  type HistoryHeader,
  type HistoryLine,
  type RecordedEvent,
  type RecordedKeyValue,
  type RecordedOperation,
  type RecordedResponse,
  type RecordedResult,
  type RecordedWatch,
} from './recorded-history.ts';

/** One line of the file, without its line feed. */
export function encodeHistoryLine(line: HistoryHeader | HistoryLine): string {
  return JSON.stringify(line, plainValue);
}

/** `this` holds the value as it was: a Buffer arrives here with its own `toJSON` already applied. */
function plainValue(this: Plain, name: string, seen: unknown): unknown {
  const value = this[name];
  if (typeof value === 'bigint') return value.toString();
  if (!(value instanceof Uint8Array)) return seen;
  return tryUtf8(value) ?? { base64: Buffer.from(value).toString('base64') };
}

/** Reads the first line. Throws `BadField`. */
export function decodeHistoryHeader(value: unknown): HistoryHeader {
  const from = object(value, 'header');
  if (from['type'] !== 'history') bad('the first line must have the type "history"');
  if (from['version'] !== HISTORY_VERSION) {
    bad(`version ${String(from['version'])} is not known (known: ${HISTORY_VERSION})`);
  }
  onlyFields(from, 'header', ['type', 'version', 'source', 'tick', 'run']);
  return {
    type: 'history',
    version: HISTORY_VERSION,
    source: text(from['source'], 'header.source'),
    tick: oneOf(from['tick'], 'header.tick', ['ms', 'us', 'event']),
    ...optional(from, 'run', 'header', runFields),
  };
}

function runFields(value: unknown, path: string): Record<string, string | number | boolean> {
  const run: Record<string, string | number | boolean> = {};
  for (const [name, field] of Object.entries(object(value, path))) {
    const plain =
      typeof field === 'string' || typeof field === 'number' || typeof field === 'boolean';
    run[name] = plain ? field : bad(`${path}.${name} must be a text, a number or a boolean`);
  }
  return run;
}

/** Reads any other line from parsed JSON. Throws `BadField`. */
export function decodeHistoryLine(value: unknown): HistoryLine {
  const from = object(value, 'line');
  switch (from['type']) {
    case 'operation':
      return operation(from);
    case 'watch':
      return watch(from);
    case 'events':
      onlyFields(from, 'events', ['type', 'stream', 'at', 'events', 'through']);
      return {
        type: 'events',
        stream: text(from['stream'], 'stream'),
        at: time(from['at'], 'at'),
        events: list(from['events'], 'events').map((one, i) => event(one, `events[${i}]`)),
        ...optional(from, 'through', 'events', counter),
      };
    case 'watch-end':
      onlyFields(from, 'watch-end', ['type', 'stream', 'at', 'code', 'compactRevision']);
      return {
        type: 'watch-end',
        stream: text(from['stream'], 'stream'),
        at: time(from['at'], 'at'),
        ...optional(from, 'code', 'watch-end', text),
        ...optional(from, 'compactRevision', 'watch-end', counter),
      };
    case 'log':
      onlyFields(from, 'log', ['type', 'shard', 'offset', 'bytes']);
      return {
        type: 'log',
        shard: text(from['shard'], 'shard'),
        offset: counter(from['offset'], 'offset'),
        bytes: bytes(from['bytes'], 'bytes'),
      };
    case 'note':
      onlyFields(from, 'note', ['type', 'at', 'until', 'text']);
      return {
        type: 'note',
        at: time(from['at'], 'at'),
        ...optional(from, 'until', 'note', time),
        text: text(from['text'], 'text'),
      };
    default:
      return bad('type must be one of operation, watch, events, watch-end, log, note, end');
  }
}

const OPERATION_FIELDS = [
  ...['type', 'id', 'client', 'process', 'shard', 'call', 'return', 'request', 'session'],
  ...['member', 'result'],
];

function operation(from: Plain): RecordedOperation {
  onlyFields(from, 'operation', OPERATION_FIELDS);
  const request = kvRequest(from['request']);
  const call = time(from['call'], 'call');
  const end = optional(from, 'return', 'operation', time);
  const decoded = result(object(from['result'], 'result'));
  if (end.return !== undefined && end.return < call) bad('return must not be before call');
  if (decoded.outcome === 'ok') {
    if (end.return === undefined) bad('an operation with an answer must have a return');
    const { op } = decoded.response;
    if (op !== request.op) bad(`the answer to ${request.op} cannot be of ${op}`);
  }
  return {
    type: 'operation',
    id: counter(from['id'], 'id'),
    client: text(from['client'], 'client'),
    process: text(from['process'], 'process'),
    shard: text(from['shard'], 'shard'),
    call,
    ...end,
    request,
    ...optional(from, 'session', 'operation', (value, path) => {
      const session = object(value, path);
      return {
        clientId: text(session['clientId'], `${path}.clientId`),
        seq: counter(session['seq'], `${path}.seq`),
      };
    }),
    ...optional(from, 'member', 'operation', text),
    result: decoded,
  };
}

function result(from: Plain): RecordedResult {
  const outcome = oneOf(from['outcome'], 'result.outcome', ['ok', 'failed', 'unknown']);
  if (outcome !== 'ok') {
    onlyFields(from, 'result', ['outcome', 'code']);
    return { outcome, code: text(from['code'], 'result.code') };
  }
  onlyFields(from, 'result', ['outcome', 'revision', 'response']);
  const answer = response(from['response'], 'result.response');
  return { outcome, revision: counter(from['revision'], 'result.revision'), response: answer };
}

const RESPONSE_OPS = ['range', 'put', 'delete-range', 'txn', 'compact'] as const;

function response(value: unknown, path: string): RecordedResponse {
  const from = object(value, path);
  const op = oneOf(from['op'], `${path}.op`, RESPONSE_OPS);
  const fields = (...names: readonly string[]): void =>
    onlyFields(from, path, ['op', 'revision', ...names]);
  const revision = optional(from, 'revision', path, counter);
  switch (op) {
    case 'range':
      fields('kvs', 'more', 'count');
      return {
        op,
        ...revision,
        kvs: keyValues(from['kvs'], `${path}.kvs`),
        ...optional(from, 'more', path, flag),
        ...optional(from, 'count', path, counter),
      };
    case 'put':
      fields('prevKv');
      return { op, ...revision, ...optional(from, 'prevKv', path, keyValue) };
    case 'delete-range':
      fields('deleted', 'prevKvs');
      return {
        op,
        ...revision,
        deleted: counter(from['deleted'], `${path}.deleted`),
        ...optional(from, 'prevKvs', path, keyValues),
      };
    case 'txn':
      fields('succeeded', 'responses');
      return {
        op,
        ...revision,
        succeeded: flag(from['succeeded'], `${path}.succeeded`),
        ...optional(from, 'responses', path, (inner, at) =>
          list(inner, at).map((one, i) => response(one, `${at}[${i}]`)),
        ),
      };
    case 'compact':
      fields();
      return { op, ...revision };
  }
}

function keyValues(value: unknown, path: string): readonly RecordedKeyValue[] {
  return list(value, path).map((one, i) => keyValue(one, `${path}[${i}]`));
}

const KEY_VALUE_FIELDS = ['key', 'value', 'modRevision', 'createRevision', 'version', 'lease'];

function keyValue(value: unknown, path: string): RecordedKeyValue {
  const from = object(value, path);
  onlyFields(from, path, KEY_VALUE_FIELDS);
  return {
    key: bytes(from['key'], `${path}.key`),
    ...optional(from, 'value', path, bytes),
    ...optional(from, 'modRevision', path, counter),
    ...optional(from, 'createRevision', path, counter),
    ...optional(from, 'version', path, counter),
    ...optional(from, 'lease', path, id64),
  };
}

function event(value: unknown, path: string): RecordedEvent {
  const from = object(value, path);
  onlyFields(from, path, ['type', 'kv', 'prevKv']);
  const kv = keyValue(from['kv'], `${path}.kv`);
  const { modRevision } = kv;
  if (modRevision === undefined) return bad(`${path}.kv.modRevision is required`);
  return {
    type: oneOf(from['type'], `${path}.type`, ['put', 'delete']),
    kv: { ...kv, modRevision },
    ...optional(from, 'prevKv', path, keyValue),
  };
}

function watch(from: Plain): RecordedWatch {
  onlyFields(from, 'watch', ['type', 'stream', 'client', 'shard', 'at', 'request', 'created']);
  return {
    type: 'watch',
    stream: text(from['stream'], 'stream'),
    client: text(from['client'], 'client'),
    shard: text(from['shard'], 'shard'),
    at: time(from['at'], 'at'),
    request: watchRequest(object(from['request'], 'request')),
    ...optional(from, 'created', 'watch', counter),
  };
}

const WATCH_FIELDS = ['key', 'rangeEnd', 'startRevision', 'prevKv', 'filters', 'progressNotify'];

function watchRequest(from: Plain): WatchRequest {
  onlyFields(from, 'request', WATCH_FIELDS);
  return {
    key: bytes(from['key'], 'request.key'),
    ...optional(from, 'rangeEnd', 'request', bytes),
    ...optional(from, 'startRevision', 'request', counter),
    ...optional(from, 'prevKv', 'request', flag),
    ...optional(from, 'filters', 'request', (value, path) =>
      list(value, path).map((one, i) =>
        oneOf<WatchFilter>(one, `${path}[${i}]`, ['no-put', 'no-delete']),
      ),
    ),
    ...optional(from, 'progressNotify', 'request', flag),
  };
}

/** A request of the API; the one validator of requests judges it once its bytes are bytes again. */
function kvRequest(value: unknown): KvRequest {
  const parsed = parseKvRequest(requestBytes(object(value, 'request'), 'request'));
  return parsed.ok ? parsed.value : bad(parsed.error.message);
}

function requestBytes(from: Plain, path: string): Plain {
  const { op } = from;
  return {
    ...from,
    ...optional(from, 'key', path, bytes),
    ...optional(from, 'rangeEnd', path, bytes),
    ...optional(from, 'lease', path, id64),
    ...(op === 'put' ? optional(from, 'value', path, bytes) : {}),
    ...optional(from, 'compare', path, (value, at) =>
      list(value, at).map((one, i) => compareBytes(object(one, `${at}[${i}]`), `${at}[${i}]`)),
    ),
    ...optional(from, 'success', path, innerRequests),
    ...optional(from, 'failure', path, innerRequests),
  };
}

function innerRequests(value: unknown, path: string): readonly Plain[] {
  return list(value, path).map((one, i) =>
    requestBytes(object(one, `${path}[${i}]`), `${path}[${i}]`),
  );
}

function compareBytes(from: Plain, path: string): Plain {
  const target = from['target'] as Compare['target'];
  return {
    ...from,
    ...optional(from, 'key', path, bytes),
    ...optional(from, 'rangeEnd', path, bytes),
    ...(target === 'value' ? optional(from, 'value', path, bytes) : {}),
    ...(target === 'lease' ? optional(from, 'value', path, id64) : {}),
  };
}
