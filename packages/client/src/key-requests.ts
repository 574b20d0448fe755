import type { PutRequest, RangeRequest } from '@kvorum/base';
import type { Span } from './key-range.ts';
import { idOfLease } from './lease-ref.ts';
import { CALL_OPTIONS } from './options.ts';
import type { PutOptions, RangeOptions } from './request-options.ts';

/**
 * Every option but the caller's own (`signal`, `timeoutMs`, keys, shard) goes to the shards as it
 * is.
 */
const RANGE_FIELDS = [
  'revision',
  'serializable',
  'limit',
  'sortOrder',
  'sortTarget',
  'keysOnly',
  'countOnly',
  'minModRevision',
  'maxModRevision',
  'minCreateRevision',
  'maxCreateRevision',
] as const;

export const PUT_OPTIONS: readonly string[] = [
  ...CALL_OPTIONS,
  'lease',
  'prevKv',
  'ignoreValue',
  'ignoreLease',
];
export const GET_OPTIONS: readonly string[] = [...CALL_OPTIONS, 'revision', 'serializable'];
export const RANGE_OPTIONS: readonly string[] = [
  ...CALL_OPTIONS,
  ...RANGE_FIELDS,
  ...['prefix', 'range', 'from', 'all', 'revisions', 'shard', 'pageSize'],
];
export const DELETE_OPTIONS: readonly string[] = [...CALL_OPTIONS, 'prevKv'];
export const COMPACT_OPTIONS: readonly string[] = [...CALL_OPTIONS, 'shard', 'physical'];
export const WATCH_OPTIONS: readonly string[] = [
  'signal',
  'startRevision',
  'revisions',
  'prevKv',
  'filters',
];

/** A range as it is asked of one shard. */
export function rangeRequestOf(span: Span, options: RangeOptions): RangeRequest {
  const request: Record<string, unknown> = { op: 'range', key: span.key };
  if (span.rangeEnd.length > 0) request['rangeEnd'] = span.rangeEnd;
  for (const name of RANGE_FIELDS) if (options[name] !== undefined) request[name] = options[name];
  return request as object as RangeRequest;
}

/** Whether a flag is more than left out or false; what is not a boolean is refused later. */
export function isSet(flag: boolean | undefined): boolean {
  return flag !== undefined && flag !== false;
}

/** Whether a put is more than a key and a value. */
export function hasPutFlags(options: PutOptions): boolean {
  const { lease, prevKv, ignoreValue, ignoreLease } = options;
  return lease !== undefined || isSet(prevKv) || isSet(ignoreValue) || isSet(ignoreLease);
}

/** A put with all that it can have. Errors: KV_INVALID_ARGUMENT for a lease that is none. */
export function putRequestOf(key: Uint8Array, value: Uint8Array, options: PutOptions): PutRequest {
  const { lease, prevKv, ignoreValue, ignoreLease } = options;
  return {
    op: 'put',
    key,
    value,
    ...(lease === undefined ? {} : { lease: idOfLease(lease) }),
    ...(prevKv === undefined ? {} : { prevKv }),
    ...(ignoreValue === undefined ? {} : { ignoreValue }),
    ...(ignoreLease === undefined ? {} : { ignoreLease }),
  };
}
