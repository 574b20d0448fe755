import { err, isCount, isPlain, KvError, type KvRequest, ok, type Result } from '@kvorum/base';
import { parseKvRequest } from './kv-plain.ts';
import { plainPackr, unpackPlain } from './plain-msgpack.ts';

/**
 * The native protocol of `/v1/session`: msgpack arrays over WebSocket binary messages, one frame a message, pipelined in both
 * directions. The first element is the frame type. Documented for people in docs/protocol.md.
 *
 * Hot requests (put, get) are flat arrays; everything else travels as the plain object of kv-api.ts. A request frame addresses one
 * shard and carries what all its commands share, so that a thousand puts pay for it once.
 */
export const CLIENT_PROTOCOL_VERSION = 1;

export const FRAME = {
  hello: 1,
  requests: 2,
  watchCreate: 3,
  watchCancel: 4,
  control: 5,
  welcome: 101,
  responses: 102,
  watchCreated: 103,
  watchEvents: 104,
  controlResponse: 105,
  watchCancelled: 106,
  mapChanged: 107,
} as const;

export const OP = { put: 1, get: 2, request: 3 } as const;

/** [id, OP.put, seq, retry, key, value] · [id, OP.get, key] · [id, OP.request, seq, retry, KvRequest]; seq 0 = no session. */
export type RequestItem =
  | readonly [id: number, op: 1, seq: number, retry: boolean, key: Uint8Array, value: Uint8Array]
  | readonly [id: number, op: 2, key: Uint8Array]
  | readonly [id: number, op: 3, seq: number, retry: boolean, request: KvRequest];

/** [2, shard, mapVersion, timeoutMs, ackedThrough, items] */
export interface RequestsFrame {
  readonly type: typeof FRAME.requests;
  readonly shard: string;
  readonly mapVersion: number;
  readonly timeoutMs: number;
  readonly ackedThrough: number;
  readonly items: readonly RequestItem[];
}

/** How a client shows who it is; needed once authorization is enabled. */
export type Credentials =
  | { readonly user: string; readonly password: string }
  | { readonly token: string };

export type ClientFrame =
  /** [1, protocol, clientId (hex32), name, credentials?] — first frame of a connection. */
  | {
      readonly type: typeof FRAME.hello;
      readonly protocol: number;
      readonly clientId: string;
      readonly name: string;
      readonly credentials?: Credentials;
    }
  | RequestsFrame
  /** [3, watchId, shard, plain WatchRequest] */
  | {
      readonly type: typeof FRAME.watchCreate;
      readonly watchId: number;
      readonly shard: string;
      readonly request: unknown;
    }
  /** [4, watchId] */
  | { readonly type: typeof FRAME.watchCancel; readonly watchId: number }
  /** [5, id, method, params] — status, members, leader transfer, ...; params and answers are plain data. */
  | {
      readonly type: typeof FRAME.control;
      readonly id: number;
      readonly method: string;
      readonly params: unknown;
    };

/** What a member tells about itself and the cluster when a session opens. */
export interface Welcome {
  readonly protocol: number;
  readonly version: string;
  readonly clusterId: string;
  readonly memberId: string;
  readonly requestBytesMax: number;
  /** Plain ShardMap. */
  readonly map: unknown;
  /** shard -> member id (hex16) of the leader, as far as known here. */
  readonly leaders: Readonly<Record<string, string>>;
}

/** [id, 0, revision] · [id, 0, revision, value, create, mod, version, lease] · [id, 0, null] absent key · [id, 1, KvResponse] · [id, 2, PlainError] */
export type ResponseItem = readonly [id: number, kind: 0 | 1 | 2, ...rest: unknown[]];

export type ServerFrame =
  | { readonly type: typeof FRAME.welcome; readonly welcome: Welcome }
  | {
      readonly type: typeof FRAME.responses;
      readonly shard: string;
      readonly items: readonly ResponseItem[];
    }
  | {
      readonly type: typeof FRAME.watchCreated;
      readonly watchId: number;
      readonly revision: number;
    }
  | {
      readonly type: typeof FRAME.watchEvents;
      readonly watchId: number;
      readonly revision: number;
      /** Plain WatchEvents: [deleted, key, value, create, mod, version, lease, prev | null]. */
      readonly events: readonly unknown[];
    }
  | {
      readonly type: typeof FRAME.controlResponse;
      readonly id: number;
      readonly error: unknown;
      readonly result: unknown;
    }
  | {
      readonly type: typeof FRAME.watchCancelled;
      readonly watchId: number;
      readonly error: unknown;
    }
  | {
      readonly type: typeof FRAME.mapChanged;
      readonly map: unknown;
      readonly leaders: Readonly<Record<string, string>>;
    };

/** Encodes a frame array as it lies on the wire; the caller guarantees the element order documented above. */
export function packFrame(frame: readonly unknown[]): Uint8Array {
  return plainPackr.pack(frame);
}

/** Undefined when the bytes are not msgpack of an array starting with a number. */
export function unpackFrame(bytes: Uint8Array): readonly unknown[] | undefined {
  const value = unpackPlain(bytes);
  return Array.isArray(value) && typeof value[0] === 'number' ? value : undefined;
}

const malformed = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', what));

function parseItem(item: unknown, at: number): Result<RequestItem, KvError> {
  if (!Array.isArray(item) || !isCount(item[0])) {
    return malformed(`items[${at}] must be an array starting with an id`);
  }
  const [id, op, third, retry, fourth, fifth] = item as readonly unknown[] as readonly [
    number,
    ...unknown[],
  ];
  if (op === OP.get) {
    return third instanceof Uint8Array
      ? ok([id, OP.get, third])
      : malformed(`items[${at}].key must be bytes`);
  }
  if (!isCount(third) || typeof retry !== 'boolean') {
    return malformed(`items[${at}] needs seq and retry`);
  }
  if (op === OP.put) {
    return fourth instanceof Uint8Array && fifth instanceof Uint8Array
      ? ok([id, OP.put, third, retry, fourth, fifth])
      : malformed(`items[${at}].key and .value must be bytes`);
  }
  if (op !== OP.request) {
    return malformed(`items[${at}].op must be 1 (put), 2 (get) or 3 (request)`);
  }
  const request = parseKvRequest(fourth);
  return request.ok ? ok([id, OP.request, third, retry, request.value]) : request;
}

function parseRequests(frame: readonly unknown[]): Result<RequestsFrame, KvError> {
  const [, shard, mapVersion, timeoutMs, ackedThrough, list] = frame;
  if (
    typeof shard !== 'string' ||
    !isCount(mapVersion) ||
    !isCount(timeoutMs) ||
    !isCount(ackedThrough)
  ) {
    return malformed('a request frame is [2, shard, mapVersion, timeoutMs, ackedThrough, items]');
  }
  if (!Array.isArray(list)) return malformed('items must be an array');
  const items: RequestItem[] = [];
  for (let i = 0; i < list.length; i += 1) {
    const item = parseItem(list[i], i);
    if (!item.ok) return item;
    items.push(item.value);
  }
  return ok({ type: FRAME.requests, shard, mapVersion, timeoutMs, ackedThrough, items });
}

const CLIENT_ID = /^[0-9a-f]{32}$/;

function parseHello(
  hello: ClientFrame & { readonly type: typeof FRAME.hello },
  shown: unknown,
): Result<ClientFrame, KvError> {
  if (shown === undefined || shown === null) return ok(hello);
  if (isPlain(shown)) {
    const { user, password, token } = shown as Readonly<
      Record<'user' | 'password' | 'token', unknown>
    >;
    if (typeof token === 'string') return ok({ ...hello, credentials: { token } });
    if (typeof user === 'string' && typeof password === 'string') {
      return ok({ ...hello, credentials: { user, password } });
    }
  }
  return malformed('credentials are { user, password } or { token }');
}

/** Checks a frame from a client. Errors: KV_MALFORMED naming the element; the connection is then closed by the server. */
export function parseClientFrame(bytes: Uint8Array): Result<ClientFrame, KvError> {
  const frame = unpackFrame(bytes);
  if (frame === undefined)
    return malformed('a frame is a msgpack array starting with its type number');
  const [type, a, b, c] = frame;
  switch (type) {
    case FRAME.hello:
      if (!isCount(a) || typeof b !== 'string' || !CLIENT_ID.test(b) || typeof c !== 'string') {
        return malformed('hello is [1, protocol, clientId (32 hex digits), name, credentials]');
      }
      return parseHello({ type: FRAME.hello, protocol: a, clientId: b, name: c }, frame[4]);
    case FRAME.requests:
      return parseRequests(frame);
    case FRAME.watchCreate:
      if (!isCount(a) || typeof b !== 'string')
        return malformed('watch create is [3, watchId, shard, request]');
      return ok({ type: FRAME.watchCreate, watchId: a, shard: b, request: c });
    case FRAME.watchCancel:
      return isCount(a)
        ? ok({ type: FRAME.watchCancel, watchId: a })
        : malformed('watch cancel is [4, watchId]');
    case FRAME.control:
      if (!isCount(a) || typeof b !== 'string')
        return malformed('control is [5, id, method, params]');
      return ok({ type: FRAME.control, id: a, method: b, params: c });
    default:
      return malformed(`unknown frame type ${String(type)}`);
  }
}

/** Reads a frame from a server; undefined when this version does not know it (newer servers may send more). */
export function parseServerFrame(bytes: Uint8Array): ServerFrame | undefined {
  const frame = unpackFrame(bytes);
  if (frame === undefined) return undefined;
  const [type, a, b, c] = frame as readonly [number, never, never, never];
  switch (type) {
    case FRAME.welcome:
      return { type, welcome: a };
    case FRAME.responses:
      return { type, shard: a, items: b };
    case FRAME.watchCreated:
      return { type, watchId: a, revision: b };
    case FRAME.watchEvents:
      return { type, watchId: a, revision: b, events: c };
    case FRAME.controlResponse:
      return { type, id: a, error: b, result: c };
    case FRAME.watchCancelled:
      return { type, watchId: a, error: b };
    case FRAME.mapChanged:
      return { type, map: a, leaders: b };
    default:
      return undefined;
  }
}
