import { err, fromHex, isCount, isPlain, KvError, ok, type Plain, type Result } from '@kvorum/base';

/**
 * The control method `log`: a page of a shard's log, decoded, read by a member. Ids are hex digits, absent is a missing field or null, as in
 * control.ts.
 */
export interface LogParams {
  readonly shard: string;
  /** Goes on where an earlier page ended; else `from`, else `sinceMs`, else the last `last` records. */
  readonly cursor?: LogCursor | undefined;
  readonly from?: number | undefined;
  /** First record whose leader's clock showed this or later, milliseconds since 1970. */
  readonly sinceMs?: number | undefined;
  readonly last?: number | undefined;
  /** Only records that change this key, and of them only these changes. */
  readonly key?: Uint8Array | undefined;
  /** With the values of puts. */
  readonly values?: boolean | undefined;
  /** How long to wait for a record at the log's end. */
  readonly waitMs?: number | undefined;
}

/** Where a page ended. To be given back as it came. */
export interface LogCursor {
  readonly offset: number;
  /** What was in force there; absent = not known. */
  readonly position?:
    | {
        readonly term: number;
        readonly leaderId: string;
        readonly seq: number;
        readonly chainHash: string;
      }
    | undefined;
}

export interface LogChange {
  readonly type: 'put' | 'delete';
  readonly key: Uint8Array;
  readonly revision: number;
  readonly version: number;
  readonly valueBytes: number;
  /** When asked for. */
  readonly value?: Uint8Array;
  /** Who asked for it; '' = unknown. */
  readonly user: string;
  readonly client: string;
}

export interface LogRecordInfo {
  readonly offset: number;
  readonly bytes: number;
  /** Why it cannot be read; everything below is missing then. */
  readonly unreadable?: string;
  /** The leader's wall clock, milliseconds since 1970. */
  readonly timeMs: number;
  readonly generation: number;
  readonly term: number;
  /** Member id of the leader, 16 hex digits. */
  readonly leader: string;
  readonly seq: number;
  readonly kind: string;
  /** `accepted`, `ignored` (with a reason), `halts` (replicas stop at it), `unknown`: read from the middle, not decided yet. */
  readonly verdict: string;
  readonly reason?: string;
  /** Revision before a batch, and how many it made. */
  readonly baseRevision?: number;
  readonly revisions?: number;
  readonly compactRevision?: number;
  readonly compactedBy?: string;
  readonly changes?: readonly LogChange[];
  /** Of a `config` record, member ids. */
  readonly voters?: readonly string[];
  readonly learners?: readonly string[];
}

export interface LogPage {
  readonly shard: string;
  readonly logName: string;
  /** First offset still there, and one past the last. */
  readonly start: number;
  readonly end: number;
  readonly records: readonly LogRecordInfo[];
  readonly next: LogCursor;
}

const isAbsent = (value: unknown): value is undefined | null =>
  value === undefined || value === null;

const LEADER_ID = /^([0-9a-f]{32})?$/;
const HASH_BYTES = 32;

const malformed = (what: string): { readonly ok: false; readonly error: KvError } =>
  err(new KvError('KV_MALFORMED', what));

function isPosition(value: unknown): value is LogCursor['position'] {
  if (!isPlain(value)) return false;
  const { term, leaderId, seq, chainHash } = value;
  const hash = typeof chainHash === 'string' ? fromHex(chainHash) : undefined;
  const named = typeof leaderId === 'string' && LEADER_ID.test(leaderId);
  return isCount(term) && isCount(seq) && named && hash?.length === HASH_BYTES;
}

function isCursor(value: unknown): value is LogCursor {
  if (!isPlain(value) || !isCount(value['offset'])) return false;
  return isAbsent(value['position']) || isPosition(value['position']);
}

/** Checks the parameters of `log`. Errors: KV_MALFORMED naming the field. */
export function parseLogParams(value: unknown): Result<LogParams, KvError> {
  if (!isPlain(value) || typeof value['shard'] !== 'string') return malformed('params.shard');
  const from: Plain = Object.fromEntries(
    Object.entries(value).filter(([, given]) => !isAbsent(given)),
  );
  for (const name of ['from', 'sinceMs', 'last', 'waitMs']) {
    if (name in from && !isCount(from[name])) return malformed(`params.${name} must be a count`);
  }
  if ('key' in from && !(from['key'] instanceof Uint8Array)) return malformed('params.key');
  if ('values' in from && typeof from['values'] !== 'boolean') return malformed('params.values');
  if ('cursor' in from && !isCursor(from['cursor'])) return malformed('params.cursor');
  return ok({
    shard: value['shard'],
    cursor: from['cursor'] as LogCursor | undefined,
    from: from['from'] as number | undefined,
    sinceMs: from['sinceMs'] as number | undefined,
    last: from['last'] as number | undefined,
    key: from['key'] as Uint8Array | undefined,
    values: from['values'] as boolean | undefined,
    waitMs: from['waitMs'] as number | undefined,
  });
}

const CHANGE_COUNTS = ['revision', 'version', 'valueBytes'] as const;

function isChange(value: unknown): value is LogChange {
  if (!isPlain(value) || !(value['key'] instanceof Uint8Array)) return false;
  const typed = value['type'] === 'put' || value['type'] === 'delete';
  const named = typeof value['user'] === 'string' && typeof value['client'] === 'string';
  const valued = isAbsent(value['value']) || value['value'] instanceof Uint8Array;
  return typed && named && valued && CHANGE_COUNTS.every((name) => isCount(value[name]));
}

const isTextList = (value: unknown): boolean =>
  isAbsent(value) || (Array.isArray(value) && value.every((text) => typeof text === 'string'));

const RECORD_COUNTS = ['timeMs', 'generation', 'term', 'seq'] as const;
const RECORD_TEXTS = ['leader', 'kind', 'verdict'] as const;

function isRecord(value: unknown): value is LogRecordInfo {
  if (!isPlain(value) || !isCount(value['offset']) || !isCount(value['bytes'])) return false;
  if (typeof value['unreadable'] === 'string') return true;
  const { changes } = value;
  return (
    RECORD_COUNTS.every((name) => isCount(value[name])) &&
    RECORD_TEXTS.every((name) => typeof value[name] === 'string') &&
    (isAbsent(changes) || (Array.isArray(changes) && changes.every(isChange))) &&
    isTextList(value['voters']) &&
    isTextList(value['learners'])
  );
}

/** Checks a page. Errors: KV_MALFORMED. */
export function parseLogPage(value: unknown): Result<LogPage, KvError> {
  if (!isPlain(value)) return malformed('a log page');
  const { shard, logName, start, end, records, next } = value;
  if (typeof shard !== 'string' || typeof logName !== 'string') return malformed('log page names');
  if (!isCount(start) || !isCount(end) || !isCursor(next)) return malformed('log page bounds');
  if (!Array.isArray(records) || !records.every(isRecord)) return malformed('log page records');
  return ok({ shard, logName, start, end, records, next });
}
