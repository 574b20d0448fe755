/** What a caller may do next. `read-back` = find out what happened before writing again. */
export type Retry =
  | 'never'
  | 'backoff'
  | 'other-member'
  | 'refresh-shard-map'
  | 'read-back'
  | 'operator';

/** What is known of the operation: it certainly did not happen, or nobody knows yet. */
export type Outcome = 'not-applied' | 'unknown';

export interface ErrorSpec {
  /** gRPC status name. */
  readonly grpc: string;
  readonly http: number;
  readonly retry: Retry;
  readonly outcome: Outcome;
  /** On the wire; etcd's text verbatim where etcd has the error, since its clients match on it. */
  readonly message: string;
}

/**
 * Every operational error a caller can react to. A code is never reused; a retired one stays as a comment.
 * Source: etcd api/v3rpc/rpctypes/error.go (texts); FoundationDB's rule that a code exists only if somebody can act on it.
 */
export const ERROR_TABLE = {
  KV_EMPTY_KEY: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: key is not provided' },
  KV_KEY_NOT_FOUND: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: key not found' },
  KV_VALUE_PROVIDED: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: value is provided' },
  KV_LEASE_PROVIDED: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: lease is provided' },
  KV_TOO_MANY_OPS: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: too many operations in txn request' },
  KV_DUPLICATE_KEY: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: duplicate key given in txn request' },
  KV_INVALID_SORT: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: invalid sort option' },
  KV_REQUEST_TOO_LARGE: { grpc: 'INVALID_ARGUMENT', http: 413, retry: 'never', outcome: 'not-applied', message: 'etcdserver: request is too large' },
  KV_INVALID_ARGUMENT: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'kv: invalid request' },
  KV_MALFORMED: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'kv: malformed message' },
  KV_CROSS_SHARD: { grpc: 'FAILED_PRECONDITION', http: 400, retry: 'never', outcome: 'not-applied', message: 'kv: keys of one atomic request lie in several shards' },
  KV_COMPACTED: { grpc: 'OUT_OF_RANGE', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: mvcc: required revision has been compacted' },
  KV_FUTURE_REVISION: { grpc: 'OUT_OF_RANGE', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: mvcc: required revision is a future revision' },
  KV_LEASE_NOT_FOUND: { grpc: 'NOT_FOUND', http: 404, retry: 'never', outcome: 'not-applied', message: 'etcdserver: requested lease not found' },
  KV_LEASE_EXISTS: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'never', outcome: 'not-applied', message: 'etcdserver: lease already exists' },
  KV_LEASE_TTL_TOO_LARGE: { grpc: 'OUT_OF_RANGE', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: too large lease TTL' },
  KV_LEASE_LOST: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'never', outcome: 'not-applied', message: 'kv: the lease has ended, or may have' },
  KV_NOT_HELD: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'never', outcome: 'not-applied', message: 'kv: not held any more' },
  KV_CONFLICT: { grpc: 'ABORTED', http: 409, retry: 'backoff', outcome: 'not-applied', message: 'kv: others kept changing the same keys' },
  KV_NOT_FOUND: { grpc: 'NOT_FOUND', http: 404, retry: 'never', outcome: 'not-applied', message: 'kv: no such resource' },
  KV_NO_SPACE: { grpc: 'RESOURCE_EXHAUSTED', http: 429, retry: 'operator', outcome: 'not-applied', message: 'etcdserver: mvcc: database space exceeded' },
  KV_TOO_MANY_REQUESTS: { grpc: 'RESOURCE_EXHAUSTED', http: 429, retry: 'backoff', outcome: 'not-applied', message: 'etcdserver: too many requests' },
  KV_NO_LEADER: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', outcome: 'not-applied', message: 'etcdserver: no leader' },
  KV_NOT_LEADER: { grpc: 'FAILED_PRECONDITION', http: 421, retry: 'other-member', outcome: 'not-applied', message: 'etcdserver: not leader' },
  KV_BAD_TRANSFEREE: { grpc: 'FAILED_PRECONDITION', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: bad leader transferee' },
  KV_LEADER_CHANGED: { grpc: 'UNAVAILABLE', http: 503, retry: 'read-back', outcome: 'unknown', message: 'etcdserver: leader changed' },
  KV_DEPOSED: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', outcome: 'not-applied', message: 'kv: leader changed before the request was logged' },
  KV_TIMEOUT: { grpc: 'UNAVAILABLE', http: 503, retry: 'read-back', outcome: 'unknown', message: 'etcdserver: request timed out' },
  KV_DEADLINE: { grpc: 'DEADLINE_EXCEEDED', http: 504, retry: 'backoff', outcome: 'not-applied', message: 'kv: deadline passed before the request was logged' },
  KV_CANCELLED: { grpc: 'CANCELLED', http: 499, retry: 'never', outcome: 'unknown', message: 'etcdserver: request canceled' },
  KV_SESSION_EXPIRED: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'read-back', outcome: 'unknown', message: 'kv: client session expired before the retry' },
  KV_RESULT_DROPPED: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'read-back', outcome: 'unknown', message: 'kv: the write was applied by an earlier attempt, but its result is no longer kept' },
  KV_WRONG_SHARD: { grpc: 'FAILED_PRECONDITION', http: 421, retry: 'refresh-shard-map', outcome: 'not-applied', message: 'kv: this key is served by another shard' },
  KV_LOG_UNAVAILABLE: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', outcome: 'not-applied', message: 'kv: the shared log does not accept writes' },
  KV_HALTED: { grpc: 'DATA_LOSS', http: 503, retry: 'operator', outcome: 'not-applied', message: 'kv: shard halted' },
  KV_CORRUPT: { grpc: 'DATA_LOSS', http: 500, retry: 'operator', outcome: 'unknown', message: 'etcdserver: corrupt cluster' },
  KV_STOPPED: { grpc: 'UNAVAILABLE', http: 503, retry: 'other-member', outcome: 'not-applied', message: 'etcdserver: server stopped' },
  KV_UNAVAILABLE: { grpc: 'UNAVAILABLE', http: 503, retry: 'backoff', outcome: 'not-applied', message: 'kv: no member answers' },
  KV_CONFIG: { grpc: 'FAILED_PRECONDITION', http: 500, retry: 'operator', outcome: 'not-applied', message: 'kv: invalid configuration' },
  KV_DATA_DIR: { grpc: 'FAILED_PRECONDITION', http: 500, retry: 'operator', outcome: 'not-applied', message: 'kv: the data directory cannot be used' },
  KV_BACKUP: { grpc: 'FAILED_PRECONDITION', http: 500, retry: 'operator', outcome: 'not-applied', message: 'kv: the backup cannot be made or used' },
  KV_LOG_MISCONFIGURED: { grpc: 'FAILED_PRECONDITION', http: 500, retry: 'operator', outcome: 'not-applied', message: 'kv: the shared log is not safe to use' },
  KV_UNAUTHENTICATED: { grpc: 'UNAUTHENTICATED', http: 401, retry: 'never', outcome: 'not-applied', message: 'etcdserver: invalid auth token' },
  KV_PERMISSION_DENIED: { grpc: 'PERMISSION_DENIED', http: 403, retry: 'never', outcome: 'not-applied', message: 'etcdserver: permission denied' },
  KV_AUTH_FAILED: { grpc: 'INVALID_ARGUMENT', http: 401, retry: 'never', outcome: 'not-applied', message: 'etcdserver: authentication failed, invalid user ID or password' },
  KV_AUTH_OLD_REVISION: { grpc: 'INVALID_ARGUMENT', http: 401, retry: 'never', outcome: 'not-applied', message: 'etcdserver: revision of auth store is old' },
  KV_AUTH_NOT_ENABLED: { grpc: 'FAILED_PRECONDITION', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: authentication is not enabled' },
  KV_AUTH_MANAGEMENT: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: invalid auth management' },
  KV_USER_EMPTY: { grpc: 'INVALID_ARGUMENT', http: 401, retry: 'never', outcome: 'not-applied', message: 'etcdserver: user name is empty' },
  KV_USER_EXISTS: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'never', outcome: 'not-applied', message: 'etcdserver: user name already exists' },
  KV_USER_NOT_FOUND: { grpc: 'FAILED_PRECONDITION', http: 404, retry: 'never', outcome: 'not-applied', message: 'etcdserver: user name not found' },
  KV_ROLE_EMPTY: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: role name is empty' },
  KV_ROLE_EXISTS: { grpc: 'FAILED_PRECONDITION', http: 409, retry: 'never', outcome: 'not-applied', message: 'etcdserver: role name already exists' },
  KV_ROLE_NOT_FOUND: { grpc: 'FAILED_PRECONDITION', http: 404, retry: 'never', outcome: 'not-applied', message: 'etcdserver: role name not found' },
  KV_ROLE_NOT_GRANTED: { grpc: 'FAILED_PRECONDITION', http: 404, retry: 'never', outcome: 'not-applied', message: 'etcdserver: role is not granted to the user' },
  KV_PERMISSION_NOT_GIVEN: { grpc: 'INVALID_ARGUMENT', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: permission not given' },
  KV_PERMISSION_NOT_GRANTED: { grpc: 'FAILED_PRECONDITION', http: 404, retry: 'never', outcome: 'not-applied', message: 'etcdserver: permission is not granted to the role' },
  KV_ROOT_USER_MISSING: { grpc: 'FAILED_PRECONDITION', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: root user does not exist' },
  KV_ROOT_ROLE_MISSING: { grpc: 'FAILED_PRECONDITION', http: 400, retry: 'never', outcome: 'not-applied', message: 'etcdserver: root user does not have root role' },
} as const;

export type ErrorCode = keyof typeof ERROR_TABLE;
ERROR_TABLE satisfies Readonly<Record<string, ErrorSpec>>;

export function errorSpec(code: ErrorCode): ErrorSpec {
  return ERROR_TABLE[code];
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_TABLE, value);
}
