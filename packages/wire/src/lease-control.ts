import {
  err,
  isCount,
  isPlain,
  KvError,
  type LeaseId,
  leaseIdOf,
  NO_LEASE,
  ok,
  type Plain,
  type Result,
} from '@kvorum/base';

/** The control methods about leases. Whoever is asked forwards to the leader of their home. */
export type LeaseMethod =
  | 'leaseGrant'
  | 'leaseRevoke'
  | 'leaseKeepAlive'
  | 'leaseTimeToLive'
  | 'leases';

/** What all of them take: how long the member may try, milliseconds; absent or 0 = its own time-out. */
export interface LeaseCallParams {
  readonly timeoutMs?: number;
}

/** What `leaseGrant` takes. `id` 0 = the member chooses; a chosen one lets the client find out what became of a lost answer. */
export interface LeaseGrantParams extends LeaseCallParams {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
}

/** What `leaseRevoke` and `leaseKeepAlive` take. */
export interface LeaseParams extends LeaseCallParams {
  readonly id: LeaseId;
}

/** What `leaseTimeToLive` takes. */
export interface LeaseTimeParams extends LeaseParams {
  /** Say which keys hang on it, too. */
  readonly keys?: boolean;
}

/** Answer of `leaseGrant`. Every `revision` is that of the leases' home shard. */
export interface LeaseGranted {
  readonly id: LeaseId;
  /** At least what was asked for. */
  readonly ttlSeconds: number;
  readonly revision: number;
}

/** Answer of `leaseRevoke`. */
export interface LeaseRevoked {
  readonly revision: number;
}

/** Answer of `leaseKeepAlive`; `ttlSeconds` 0 = there is no such lease. */
export interface LeaseKeptAlive {
  readonly ttlSeconds: number;
  readonly revision: number;
}

/** Answer of `leaseTimeToLive`; `ttlSeconds`, what is left, is -1 when there is no such lease. */
export interface LeaseTimeInfo {
  readonly ttlSeconds: number;
  readonly grantedSeconds: number;
  /** Of all shards; empty unless asked for. */
  readonly keys: readonly Uint8Array[];
  readonly revision: number;
}

/** Answer of `leases`: the next to expire first. */
export interface LeaseList {
  readonly ids: readonly LeaseId[];
  readonly revision: number;
}

class Malformed extends Error {}

function fail(what: string): never {
  throw new Malformed(what);
}

function parse<T>(value: unknown, what: string, read: (fields: Plain) => T): Result<T, KvError> {
  try {
    return ok(read(isPlain(value) ? value : fail('not an object')));
  } catch (error) {
    if (error instanceof Malformed) {
      return err(new KvError('KV_MALFORMED', `${what}: ${error.message}`));
    }
    throw error;
  }
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null;

function count(fields: Plain, name: string): number {
  const { [name]: value } = fields;
  return isCount(value) ? value : fail(`${name} must be a whole number`);
}

function idOf(value: unknown): LeaseId {
  return leaseIdOf(value) ?? fail('id must be a signed 64-bit integer');
}

function timeoutOf(fields: Plain): LeaseCallParams {
  return isAbsent(fields['timeoutMs']) ? {} : { timeoutMs: count(fields, 'timeoutMs') };
}

/** Each checks the parameters of a method. Errors: KV_MALFORMED naming the field. */
export function parseLeaseGrantParams(value: unknown): Result<LeaseGrantParams, KvError> {
  return parse(value, 'leaseGrant', (fields) => {
    const id = isAbsent(fields['id']) ? NO_LEASE : idOf(fields['id']);
    const { ttlSeconds } = fields;
    // Negative ones are the member's to refuse, in etcd's words.
    if (!Number.isSafeInteger(ttlSeconds)) fail('ttlSeconds must be an integer');
    return { id, ttlSeconds: ttlSeconds as number, ...timeoutOf(fields) };
  });
}
export function parseLeaseParams(value: unknown): Result<LeaseParams, KvError> {
  return parse(value, 'lease', (fields) => ({ id: idOf(fields['id']), ...timeoutOf(fields) }));
}
export function parseLeaseTimeParams(value: unknown): Result<LeaseTimeParams, KvError> {
  return parse(value, 'leaseTimeToLive', (fields) => {
    const { keys } = fields;
    if (!isAbsent(keys) && typeof keys !== 'boolean') fail('keys must be true or false');
    return {
      id: idOf(fields['id']),
      ...(keys === true ? { keys } : {}),
      ...timeoutOf(fields),
    };
  });
}
export function parseLeaseListParams(value: unknown): Result<LeaseCallParams, KvError> {
  return isAbsent(value) ? ok({}) : parse(value, 'leases', timeoutOf);
}

/** Each checks an answer. Errors: KV_MALFORMED naming the field. */
export function parseLeaseGranted(value: unknown): Result<LeaseGranted, KvError> {
  return parse(value, 'the answer to leaseGrant', (fields) => ({
    id: idOf(fields['id']),
    ttlSeconds: count(fields, 'ttlSeconds'),
    revision: count(fields, 'revision'),
  }));
}
export function parseLeaseRevoked(value: unknown): Result<LeaseRevoked, KvError> {
  return parse(value, 'the answer to leaseRevoke', (fields) => ({
    revision: count(fields, 'revision'),
  }));
}
export function parseLeaseKeptAlive(value: unknown): Result<LeaseKeptAlive, KvError> {
  return parse(value, 'the answer to leaseKeepAlive', (fields) => ({
    ttlSeconds: count(fields, 'ttlSeconds'),
    revision: count(fields, 'revision'),
  }));
}
export function parseLeaseTimeInfo(value: unknown): Result<LeaseTimeInfo, KvError> {
  return parse(value, 'the answer to leaseTimeToLive', (fields) => {
    const { keys } = fields;
    if (!Array.isArray(keys) || !keys.every((key) => key instanceof Uint8Array)) {
      return fail('keys must be a list of bytes');
    }
    return {
      ttlSeconds: fields['ttlSeconds'] === -1 ? -1 : count(fields, 'ttlSeconds'),
      grantedSeconds: count(fields, 'grantedSeconds'),
      keys,
      revision: count(fields, 'revision'),
    };
  });
}
export function parseLeaseList(value: unknown): Result<LeaseList, KvError> {
  return parse(value, 'the answer to leases', (fields) => {
    const { ids } = fields;
    if (!Array.isArray(ids)) return fail('ids must be a list');
    return { ids: ids.map(idOf), revision: count(fields, 'revision') };
  });
}
