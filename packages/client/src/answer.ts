import {
  isPlain,
  type LeaseId,
  NO_LEASE,
  type Plain,
  type WatchEvent as PlainWatchEvent,
  type Revision,
} from '@kvorum/base';
import { Entry } from './entry.ts';

/** A put that was applied. */
export interface PutResult {
  readonly op: 'put';
  /** Revision of the shard's timeline at which the key now stands. */
  readonly revision: Revision;
  readonly shard: string;
  /** What the key held before; only when asked for, and when it existed. */
  readonly prevKv?: Entry;
}
export interface DeleteResult {
  readonly op: 'delete-range';
  readonly revision: Revision;
  readonly shard: string;
  readonly deleted: number;
  /** What was deleted, when asked for. */
  readonly prevKvs: readonly Entry[];
}
/** What one shard answered to a range. */
export interface ShardRangeResult {
  readonly op: 'range';
  readonly revision: Revision;
  readonly shard: string;
  readonly entries: readonly Entry[];
  /** More keys than the limit let through. */
  readonly more: boolean;
  /** Keys in the range, whatever the limit. */
  readonly count: number;
}
export interface TxnResult {
  readonly op: 'txn';
  readonly revision: Revision;
  readonly shard: string;
  /** Whether every comparison held: `responses` are then those of the success branch. */
  readonly succeeded: boolean;
  readonly responses: readonly TxnOpResult[];
}
export type TxnOpResult = ShardRangeResult | PutResult | DeleteResult | TxnResult;
export interface CompactResult {
  readonly op: 'compact';
  readonly revision: Revision;
  readonly shard: string;
}
export type KvResult = TxnOpResult | CompactResult;

/** A watched change. For a delete only key and modRevision of `kv` carry meaning. */
export interface WatchEvent extends PlainWatchEvent {
  readonly kv: Entry;
  readonly prevKv?: Entry;
  readonly shard: string;
}

/** A member's answer that is not what the protocol says. */
export class MalformedAnswer extends Error {}

function fail(what: string): never {
  throw new MalformedAnswer(what);
}

export function plainObject(value: unknown, what: string): Plain {
  return isPlain(value) ? value : fail(`${what} must be an object`);
}

function count(value: unknown, what: string): number {
  if (Number.isSafeInteger(value)) return value as number;
  const number = typeof value === 'bigint' ? Number(value) : Number.NaN;
  return Number.isSafeInteger(number) ? number : fail(`${what} must be an integer`);
}

export function revisionOf(value: unknown): Revision {
  return count(value, 'revision') as Revision;
}

function bytes(value: unknown, what: string): Uint8Array {
  return value instanceof Uint8Array ? value : fail(`${what} must be bytes`);
}

function lease(value: unknown): LeaseId {
  if (value === 0 || value === 0n || value === undefined || value === null) return NO_LEASE;
  return (typeof value === 'bigint' ? value : BigInt(count(value, 'lease'))) as LeaseId;
}

/** From [value, create, mod, version, lease] at `at` of the fast get answer and of watch events. */
export function entryOf(key: unknown, fields: readonly unknown[], at: number): Entry {
  return new Entry({
    key: bytes(key, 'key'),
    value: bytes(fields[at], 'value'),
    createRevision: count(fields[at + 1], 'createRevision') as Revision,
    modRevision: count(fields[at + 2], 'modRevision') as Revision,
    version: count(fields[at + 3], 'version'),
    lease: lease(fields[at + 4]),
  });
}

function keyValue(value: unknown): Entry {
  const kv = plainObject(value, 'kv');
  return new Entry({
    key: bytes(kv['key'], 'key'),
    value: bytes(kv['value'], 'value'),
    createRevision: count(kv['createRevision'], 'createRevision') as Revision,
    modRevision: count(kv['modRevision'], 'modRevision') as Revision,
    version: count(kv['version'], 'version'),
    lease: lease(kv['lease']),
  });
}

function keyValues(value: unknown): readonly Entry[] {
  return Array.isArray(value) ? value.map(keyValue) : fail('kvs must be an array');
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null;

/** Above every depth that a member lets through; more would exhaust the stack of the caller's program. */
const DEPTH_MAX = 64;

/** Reads a plain KvResponse. Throws {@link MalformedAnswer}. */
export function kvResultOf(value: unknown, shard: string, depth = 0): KvResult {
  const from = plainObject(value, 'response');
  const revision = revisionOf(from['revision']);
  switch (from['op']) {
    case 'put': {
      const prev = from['prevKv'];
      return { op: 'put', revision, shard, ...(isAbsent(prev) ? {} : { prevKv: keyValue(prev) }) };
    }
    case 'range':
      return {
        op: 'range',
        revision,
        shard,
        entries: keyValues(from['kvs']),
        more: from['more'] === true,
        count: count(from['count'], 'count'),
      };
    case 'delete-range':
      return {
        op: 'delete-range',
        revision,
        shard,
        deleted: count(from['deleted'], 'deleted'),
        prevKvs: isAbsent(from['prevKvs']) ? [] : keyValues(from['prevKvs']),
      };
    case 'txn':
      return txnResult(from, revision, shard, depth);
    case 'compact':
      return { op: 'compact', revision, shard };
    default:
      return fail('response.op is unknown');
  }
}

function txnResult(from: Plain, revision: Revision, shard: string, depth: number): TxnResult {
  if (depth > DEPTH_MAX) return fail(`responses are nested deeper than ${DEPTH_MAX}`);
  const list: unknown = from['responses'];
  if (!Array.isArray(list)) return fail('responses must be an array');
  const responses = list.map((item) => {
    const result = kvResultOf(item, shard, depth + 1);
    return result.op === 'compact' ? fail('a txn cannot compact') : result;
  });
  return { op: 'txn', revision, shard, succeeded: from['succeeded'] === true, responses };
}

/**
 * Reads [deleted, key, value, create, mod, version, lease, prev | null]. Throws {@link
 * MalformedAnswer}.
 */
export function watchEventOf(value: unknown, shard: string): WatchEvent {
  if (!Array.isArray(value)) return fail('a watch event must be an array');
  const fields = value as readonly unknown[];
  const [deleted, key] = fields;
  const prev = fields[7];
  return {
    type: deleted === true || deleted === 1 ? 'delete' : 'put',
    kv: entryOf(key, fields, 2),
    shard,
    ...(isAbsent(prev) ? {} : { prevKv: previous(key, prev) }),
  };
}

/** Of a watched key: [key, value, create, mod, version, lease], or a whole plain KeyValue. */
function previous(key: unknown, prev: unknown): Entry {
  return Array.isArray(prev) ? entryOf(key, prev, 1) : keyValue(prev);
}
