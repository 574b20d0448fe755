import {
  err,
  isCount,
  isPlain,
  KvError,
  type LeaseId,
  leaseIdOf,
  ok,
  type Plain,
  type Result,
} from '@kvorum/base';
import type { AdmittedLease } from '@kvorum/mvcc';
import type { LeaseDrop, LeasePermission, LeaseTime, ReplicaLeases } from './lease-api.ts';

/** What one member asks the leader of a shard about leases at another one; plain data on the wire. */
export type LeaseRequest =
  | { readonly kind: 'grant'; readonly id: LeaseId; readonly ttlSeconds: number }
  | { readonly kind: 'revoke' | 'keep-alive' | 'keys'; readonly id: LeaseId }
  | { readonly kind: 'time-to-live'; readonly id: LeaseId; readonly wantsKeys: boolean }
  | { readonly kind: 'list' }
  | { readonly kind: 'permit'; readonly ids: readonly LeaseId[] }
  | ({ readonly kind: 'drop' } & LeaseDrop);

function idsOf(value: unknown): readonly LeaseId[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const ids = value.map(leaseIdOf);
  return ids.every((id) => id !== undefined) ? ids : undefined;
}

function requestOf({ kind, ...plain }: Plain): LeaseRequest | undefined {
  const { ttlSeconds, wantsKeys, term, floor } = plain;
  const [id, ids] = [leaseIdOf(plain['id']), idsOf(plain['ids'])];
  switch (kind) {
    case 'list':
      return { kind };
    case 'permit':
      return ids === undefined ? undefined : { kind, ids };
    case 'drop':
      return ids !== undefined && isCount(term) && isCount(floor)
        ? { kind, ids, term, floor }
        : undefined;
    default:
  }
  if (id === undefined) return undefined;
  switch (kind) {
    case 'grant':
      return Number.isSafeInteger(ttlSeconds)
        ? { kind, id, ttlSeconds: ttlSeconds as number }
        : undefined;
    case 'time-to-live':
      return typeof wantsKeys === 'boolean' ? { kind, id, wantsKeys } : undefined;
    case 'revoke':
    case 'keep-alive':
    case 'keys':
      return { kind, id };
    default:
      return undefined;
  }
}

/** Checks a request of another member. Errors: KV_MALFORMED. */
export function parseLeaseRequest(value: unknown): Result<LeaseRequest, KvError> {
  const request = isPlain(value) ? requestOf(value) : undefined;
  return request === undefined ? err(new KvError('KV_MALFORMED', 'lease request')) : ok(request);
}

/** Has the leader of a shard answer; plain data. Errors: those of {@link ReplicaLeases}. */
export async function serveLeaseRequest(
  leases: ReplicaLeases,
  request: LeaseRequest,
  deadlineMs: number,
): Promise<unknown> {
  switch (request.kind) {
    case 'grant': {
      const { id, ttlSeconds } = request;
      return leases.grant({ id, ttlSeconds }, deadlineMs);
    }
    case 'revoke':
      return leases.revoke(request.id, deadlineMs);
    case 'keep-alive':
      return leases.keepAlive(request.id, deadlineMs);
    case 'time-to-live':
      return leases.timeToLive(request.id, request.wantsKeys, deadlineMs);
    case 'list':
      return leases.list(deadlineMs);
    case 'permit':
      return leases.permit(request.ids, deadlineMs);
    case 'drop': {
      const { ids, term, floor } = request;
      return { isDone: await leases.drop({ ids, term, floor }, deadlineMs) };
    }
    case 'keys':
      return { keys: await leases.keys(request.id, deadlineMs) };
  }
}

const isKeys = (value: unknown): value is readonly Uint8Array[] =>
  Array.isArray(value) && value.every((key) => key instanceof Uint8Array);

function malformed(): KvError {
  // Whatever it was, it may have been done.
  return new KvError('KV_MALFORMED', 'the answer about a lease', { outcome: 'unknown' });
}

function fieldsOf(value: unknown): Plain {
  if (isPlain(value)) return value;
  throw malformed();
}

/** The answers, checked. Each throws KV_MALFORMED. */
export const leaseAnswers: {
  readonly revision: (value: unknown) => { readonly revision: number };
  readonly time: (value: unknown) => { readonly revision: number; readonly ttlSeconds: number };
  readonly timeToLive: (value: unknown) => LeaseTime;
  readonly list: (value: unknown) => {
    readonly revision: number;
    readonly ids: readonly LeaseId[];
  };
  readonly permission: (value: unknown) => LeasePermission;
  readonly isDone: (value: unknown) => boolean;
  readonly keys: (value: unknown) => readonly Uint8Array[];
} = {
  revision: (value) => {
    const { revision } = fieldsOf(value);
    if (!isCount(revision)) throw malformed();
    return { revision };
  },
  time: (value) => {
    const { revision, ttlSeconds } = fieldsOf(value);
    if (!isCount(revision) || !isCount(ttlSeconds)) throw malformed();
    return { revision, ttlSeconds };
  },
  timeToLive: (value) => {
    const { revision, ttlSeconds, grantedSeconds, keys } = fieldsOf(value);
    const isTime = ttlSeconds === -1 || isCount(ttlSeconds);
    if (!isCount(revision) || !isTime || !isCount(grantedSeconds) || !isKeys(keys))
      throw malformed();
    return { revision, ttlSeconds, grantedSeconds, keys };
  },
  list: (value) => {
    const { revision, ids: given } = fieldsOf(value);
    const ids = idsOf(given);
    if (!isCount(revision) || ids === undefined) throw malformed();
    return { revision, ids };
  },
  permission: (value) => {
    const { permit, leases } = fieldsOf(value);
    const { term, seq } = fieldsOf(permit);
    if (!isCount(term) || !isCount(seq) || !Array.isArray(leases)) throw malformed();
    return { permit: { term, seq }, leases: leases.map(admittedOf) };
  },
  isDone: (value) => {
    const { isDone } = fieldsOf(value);
    if (typeof isDone !== 'boolean') throw malformed();
    return isDone;
  },
  keys: (value) => {
    const { keys } = fieldsOf(value);
    if (!isKeys(keys)) throw malformed();
    return keys;
  },
};

function admittedOf(value: unknown): AdmittedLease {
  const { id: given, ttlSeconds } = fieldsOf(value);
  const id = leaseIdOf(given);
  if (id === undefined || !isCount(ttlSeconds)) throw malformed();
  return { id, ttlSeconds };
}
