import {
  type Compare,
  type ErrorDetails,
  err,
  isErrorCode,
  KvError,
  type KvRequest,
  type LeaseId,
  NO_LEASE,
  ok,
  type Plain,
  type Result,
  type TxnOp,
} from '@kvorum/base';

/**
 * Requests and errors as plain data (what msgpack carries), and the way back with every field checked: what
 * arrives from a socket is `unknown` until it has passed here.
 */

class Malformed extends Error {}

function fail(what: string): never {
  throw new Malformed(what);
}

function object(value: unknown, path: string): Plain {
  if (
    typeof value !== 'object' ||
    value === null ||
    Array.isArray(value) ||
    value instanceof Uint8Array
  ) {
    fail(`${path} must be an object`);
  }
  return value as Plain;
}

function list(value: unknown, path: string): readonly unknown[] {
  return Array.isArray(value) ? value : fail(`${path} must be an array`);
}

function bytes(value: unknown, path: string): Uint8Array {
  return value instanceof Uint8Array ? value : fail(`${path} must be bytes`);
}

function optional<T>(
  value: unknown,
  path: string,
  check: (v: unknown, p: string) => T,
): T | undefined {
  return value === undefined || value === null ? undefined : check(value, path);
}

function bool(value: unknown, path: string): boolean {
  return typeof value === 'boolean' ? value : fail(`${path} must be true or false`);
}

function integer(value: unknown, path: string): number {
  // msgpack's big integers may be of any size: beyond 2^1024 they become Infinity here, no error.
  const number = typeof value === 'bigint' ? Number(value) : value;
  return Number.isSafeInteger(number) ? (number as number) : fail(`${path} must be an integer`);
}

function lease(value: unknown, path: string): LeaseId {
  const id = typeof value === 'bigint' ? value : BigInt(integer(value, path));
  return id === BigInt.asIntN(64, id)
    ? (id as LeaseId)
    : fail(`${path} must be a signed 64-bit integer`);
}

function oneOf<T extends string>(...allowed: readonly T[]): (value: unknown, path: string) => T {
  return (value, path) => {
    const found = allowed.find((option) => option === value);
    return found ?? fail(`${path} must be one of ${allowed.join(', ')}`);
  };
}

const SORT_ORDER = oneOf('none', 'ascend', 'descend');
const SORT_TARGET = oneOf('key', 'version', 'create', 'mod', 'value');
const COMPARE_RESULT = oneOf('equal', 'greater', 'less', 'not-equal');
const COMPARE_TARGET = oneOf('version', 'create', 'mod', 'value', 'lease');

/** Drops absent fields, so that exact optional properties stay absent instead of undefined. */
function compact<T extends object>(fields: { [K in keyof T]: T[K] | undefined }): T {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) out[name] = value;
  return out as T;
}

function known(from: Plain, path: string, names: readonly string[]): void {
  for (const name of Object.keys(from)) {
    if (!names.includes(name))
      fail(`${path}.${name} is not a known field (known: ${names.join(', ')})`);
  }
}

const RANGE_FIELDS = [
  'op',
  'key',
  'rangeEnd',
  'limit',
  'revision',
  'sortOrder',
  'sortTarget',
  'serializable',
  'keysOnly',
  'countOnly',
  'minModRevision',
  'maxModRevision',
  'minCreateRevision',
  'maxCreateRevision',
];

function rangeRequest(from: Plain, path: string): KvRequest {
  known(from, path, RANGE_FIELDS);
  return compact({
    op: 'range' as const,
    key: bytes(from['key'], `${path}.key`),
    rangeEnd: optional(from['rangeEnd'], `${path}.rangeEnd`, bytes),
    limit: optional(from['limit'], `${path}.limit`, integer),
    revision: optional(from['revision'], `${path}.revision`, integer),
    sortOrder: optional(from['sortOrder'], `${path}.sortOrder`, SORT_ORDER),
    sortTarget: optional(from['sortTarget'], `${path}.sortTarget`, SORT_TARGET),
    serializable: optional(from['serializable'], `${path}.serializable`, bool),
    keysOnly: optional(from['keysOnly'], `${path}.keysOnly`, bool),
    countOnly: optional(from['countOnly'], `${path}.countOnly`, bool),
    minModRevision: optional(from['minModRevision'], `${path}.minModRevision`, integer),
    maxModRevision: optional(from['maxModRevision'], `${path}.maxModRevision`, integer),
    minCreateRevision: optional(from['minCreateRevision'], `${path}.minCreateRevision`, integer),
    maxCreateRevision: optional(from['maxCreateRevision'], `${path}.maxCreateRevision`, integer),
  }) as KvRequest;
}

function putRequest(from: Plain, path: string): KvRequest {
  known(from, path, ['op', 'key', 'value', 'lease', 'prevKv', 'ignoreValue', 'ignoreLease']);
  return compact({
    op: 'put' as const,
    key: bytes(from['key'], `${path}.key`),
    value: bytes(from['value'], `${path}.value`),
    lease: optional(from['lease'], `${path}.lease`, lease),
    prevKv: optional(from['prevKv'], `${path}.prevKv`, bool),
    ignoreValue: optional(from['ignoreValue'], `${path}.ignoreValue`, bool),
    ignoreLease: optional(from['ignoreLease'], `${path}.ignoreLease`, bool),
  }) as KvRequest;
}

function deleteRequest(from: Plain, path: string): KvRequest {
  known(from, path, ['op', 'key', 'rangeEnd', 'prevKv']);
  return compact({
    op: 'delete-range' as const,
    key: bytes(from['key'], `${path}.key`),
    rangeEnd: optional(from['rangeEnd'], `${path}.rangeEnd`, bytes),
    prevKv: optional(from['prevKv'], `${path}.prevKv`, bool),
  }) as KvRequest;
}

function compare(value: unknown, path: string): Compare {
  const from = object(value, path);
  known(from, path, ['key', 'rangeEnd', 'result', 'target', 'value']);
  const target = COMPARE_TARGET(from['target'], `${path}.target`);
  const check = target === 'value' ? bytes : target === 'lease' ? lease : integer;
  return compact({
    key: bytes(from['key'], `${path}.key`),
    rangeEnd: optional(from['rangeEnd'], `${path}.rangeEnd`, bytes),
    result: COMPARE_RESULT(from['result'], `${path}.result`),
    target,
    value: check(from['value'], `${path}.value`),
  }) as Compare;
}

/** Nesting is cut here well above any configured depth, so that a bomb cannot exhaust the stack. */
const PARSE_DEPTH_MAX = 32;

function request(value: unknown, path: string, depth: number): KvRequest {
  if (depth > PARSE_DEPTH_MAX) fail(`${path} is nested deeper than ${PARSE_DEPTH_MAX}`);
  const from = object(value, path);
  switch (from['op']) {
    case 'range':
      return rangeRequest(from, path);
    case 'put':
      return putRequest(from, path);
    case 'delete-range':
      return deleteRequest(from, path);
    case 'txn': {
      known(from, path, ['op', 'compare', 'success', 'failure']);
      const ops = (name: 'success' | 'failure'): TxnOp[] =>
        list(from[name] ?? [], `${path}.${name}`).map((item, i) => {
          const op = request(item, `${path}.${name}[${i}]`, depth + 1);
          return op.op === 'compact' ? fail(`${path}.${name}[${i}].op cannot be compact`) : op;
        });
      return {
        op: 'txn',
        compare: list(from['compare'] ?? [], `${path}.compare`).map((item, i) =>
          compare(item, `${path}.compare[${i}]`),
        ),
        success: ops('success'),
        failure: ops('failure'),
      };
    }
    case 'compact':
      known(from, path, ['op', 'revision', 'physical']);
      return compact({
        op: 'compact' as const,
        revision: integer(from['revision'], `${path}.revision`),
        physical: optional(from['physical'], `${path}.physical`, bool),
      }) as KvRequest;
    default:
      return fail(`${path}.op must be one of range, put, delete-range, txn, compact`);
  }
}

/** Checks the shape of a request from outside. Errors: KV_MALFORMED naming the field and what was expected. */
export function parseKvRequest(value: unknown): Result<KvRequest, KvError> {
  try {
    return ok(request(value, 'request', 0));
  } catch (error) {
    if (error instanceof Malformed) return err(new KvError('KV_MALFORMED', error.message));
    throw error;
  }
}

/** A lease id as plain data travels as bigint only when it is not 0. */
export function hasLease(id: LeaseId | undefined): id is LeaseId {
  return id !== undefined && id !== NO_LEASE;
}

/** An error as plain data: [code, detail message, details, outcome]. */
export type PlainError = readonly [
  code: string,
  message: string,
  details: ErrorDetails,
  outcome: string,
];

export function plainError(error: KvError): PlainError {
  return [error.code, error.message, error.details, error.outcome];
}

/** Rebuilds an error from plain data; anything unrecognisable becomes KV_MALFORMED with an unknown outcome. */
export function errorFromPlain(value: unknown): KvError {
  if (Array.isArray(value) && isErrorCode(value[0]) && typeof value[1] === 'string') {
    const spec = new KvError(value[0]);
    const detail = value[1].startsWith(`${spec.message}: `)
      ? value[1].slice(spec.message.length + 2)
      : undefined;
    return new KvError(value[0], detail, {
      details: typeof value[2] === 'object' && value[2] !== null ? (value[2] as ErrorDetails) : {},
      outcome: value[3] === 'not-applied' ? 'not-applied' : 'unknown',
    });
  }
  return new KvError('KV_MALFORMED', 'the peer answered with an error this version does not know', {
    outcome: 'unknown',
  });
}
