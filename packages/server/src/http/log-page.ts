import {
  equalBytes,
  formatId,
  fromHex,
  KvError,
  type LogOffset,
  leaderId,
  logOffset,
  type Origin,
  term,
  toHex,
} from '@kvorum/base';
import { decodeOrigins, decodeWriteSet, type WriteSet, writeSetEvents } from '@kvorum/mvcc';
import type { LogBounds, LogEntry } from '@kvorum/ports';
import {
  decodeMembership,
  LOG_BEGIN,
  type LogPosition,
  LogReading,
  type ReadRecord,
  type UnreadableRecord,
} from '@kvorum/raft';
import type { LogReader } from '@kvorum/replica';
import {
  decodeLogRecord,
  type LogChange,
  type LogCursor,
  type LogPage,
  type LogParams,
  type LogRecordInfo,
  parseLogParams,
} from '@kvorum/wire';
import type { Host } from '../host.ts';
import { sha256 } from '../member/system.ts';
import { notHere } from '../router/elsewhere.ts';

/** Of the log, one page reads about so much, and says how far it came. */
const PAGE_BYTES = 1024 * 1024;
const PAGE_RECORDS = 512;
const WAIT_MS_MAX = 1000;
const LAST_MAX = 10_000;
/** Read ahead of a page that begins anywhere, to find out what was in force there. */
const LOOK_BACK = 32;
const HEX_OF_MEMBER = 16;

type Decoded = ReadRecord & { readonly leaderTimeMs: number };

/** A page from this member's own replica. Errors: KV_NOT_FOUND, KV_MALFORMED, KV_LOG_UNAVAILABLE. */
export async function logPage(host: Host, params: unknown): Promise<LogPage> {
  const parsed = parseLogParams(params);
  if (!parsed.ok) throw parsed.error;
  const { shard } = parsed.value;
  const replica = host.replica(shard);
  if (replica === undefined) throw notHere(host, shard);
  return new PageReader(shard, replica.log, parsed.value).page();
}

class PageReader {
  readonly #shard: string;
  readonly #log: LogReader;
  readonly #params: LogParams;

  constructor(shard: string, log: LogReader, params: LogParams) {
    this.#shard = shard;
    this.#log = log;
    this.#params = params;
  }

  async page(): Promise<LogPage> {
    const bounds = await this.#bounds();
    const { cursor } = this.#params;
    const first = cursor === undefined ? await this.#first(bounds) : logOffset(cursor.offset);
    if (first > bounds.end || (cursor !== undefined && first < bounds.start)) {
      throw new KvError('KV_NOT_FOUND', `offset ${first} is not in ${this.#log.name}`, {
        details: { hint: `it holds ${bounds.start} to ${bounds.end - 1}` },
      });
    }
    const from = logOffset(Math.max(first, bounds.start));
    const reading = await this.#readingAt(from, bounds, cursor?.position);
    const waitMs = Math.min(this.#params.waitMs ?? 0, WAIT_MS_MAX);
    const { entries, end } = await this.#read(from, waitMs);
    const records: LogRecordInfo[] = [];
    let next: number = from;
    for (const entry of entries.slice(0, PAGE_RECORDS)) {
      const info = this.#info(entry, reading);
      if (info !== undefined) records.push(info);
      next = entry.offset + 1;
    }
    return {
      shard: this.#shard,
      logName: this.#log.name,
      start: bounds.start,
      end: Math.max(end, bounds.end),
      records,
      next: cursorAt(next, reading.position),
    };
  }

  async #bounds(): Promise<LogBounds> {
    const bounds = await this.#log.bounds();
    if ('kind' in bounds) throw bounds.error;
    return bounds;
  }

  async #read(
    from: LogOffset,
    waitMs: number,
  ): Promise<{ readonly entries: readonly LogEntry[]; readonly end: number }> {
    const signal = AbortSignal.timeout(waitMs + WAIT_MS_MAX);
    const outcome = await this.#log.read(from, { bytesMax: PAGE_BYTES, waitMs, signal });
    if (outcome.kind === 'unavailable') throw outcome.error;
    // Truncated between the question for the bounds and here: the next page says so.
    return outcome.kind === 'records' ? outcome : { entries: [], end: outcome.bounds.end };
  }

  async #first(bounds: LogBounds): Promise<LogOffset> {
    const { from, sinceMs, last } = this.#params;
    if (from !== undefined) return logOffset(from);
    if (sinceMs !== undefined) return this.#firstSince(sinceMs, bounds);
    const count = Math.min(last ?? LAST_MAX, LAST_MAX);
    return logOffset(Math.max(bounds.start, bounds.end - count));
  }

  /** By halving: leaders' clocks mostly agree with the order of the log. */
  async #firstSince(sinceMs: number, bounds: LogBounds): Promise<LogOffset> {
    let low: number = bounds.start;
    let high: number = bounds.end;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const { entries } = await this.#read(logOffset(middle), 0);
      const [entry] = entries;
      const record = entry === undefined ? undefined : decodeLogRecord(entry.bytes);
      const isLater = record === undefined || (record.ok && record.value.leaderTimeMs >= sinceMs);
      if (isLater) high = middle;
      else low = (entry?.offset ?? middle) + 1;
    }
    return logOffset(low);
  }

  /** A judge of records that stands at `from`. */
  async #readingAt(
    from: LogOffset,
    bounds: LogBounds,
    known: LogCursor['position'],
  ): Promise<LogReading> {
    const { shardUid, generation } = this.#log;
    const context = { shardUid, generation, chain: sha256 };
    if (known !== undefined && known !== null) return new LogReading(context, positionOf(known));
    if (from === 0 && generation === 0) return new LogReading(context, LOG_BEGIN);
    const begin = logOffset(Math.max(bounds.start, from - LOOK_BACK));
    const fromBegin = begin === 0 && generation === 0;
    const reading = new LogReading(context, fromBegin ? LOG_BEGIN : undefined);
    let at = begin;
    while (at < from) {
      const { entries } = await this.#read(at, 0);
      if (entries.length === 0) break;
      for (const entry of entries) {
        if (entry.offset < from) reading.next(decode(entry));
        at = logOffset(entry.offset + 1);
      }
    }
    return reading;
  }

  #info(entry: LogEntry, reading: LogReading): LogRecordInfo | undefined {
    const record = decode(entry);
    const verdict = reading.next(record);
    const { key } = this.#params;
    const place = { offset: entry.offset, bytes: entry.bytes.length };
    if ('unreadable' in record) {
      return key === undefined ? { ...blank(place), unreadable: record.unreadable } : undefined;
    }
    const changes = record.kind === 'batch' ? batchOf(record, this.#params) : undefined;
    if (key !== undefined && (changes?.changes?.length ?? 0) === 0) return undefined;
    return {
      ...place,
      timeMs: record.leaderTimeMs,
      generation: record.generation,
      term: record.term,
      leader: record.leaderId.slice(0, HEX_OF_MEMBER),
      seq: record.seq,
      kind: record.kind,
      verdict: verdict.kind,
      ...('reason' in verdict ? { reason: verdict.reason } : {}),
      ...changes,
      ...(record.kind === 'config' ? membersOf(record.payload) : {}),
    };
  }
}

function blank(place: { readonly offset: number; readonly bytes: number }): LogRecordInfo {
  const nothing = { timeMs: 0, generation: 0, term: 0, leader: '', seq: 0, kind: '' };
  return { ...place, ...nothing, verdict: 'halts' };
}

function decode(entry: LogEntry): Decoded | UnreadableRecord {
  const decoded = decodeLogRecord(entry.bytes);
  if (!decoded.ok) return { offset: entry.offset, unreadable: decoded.error };
  return { ...decoded.value, offset: entry.offset, digest: sha256(entry.bytes) };
}

type BatchInfo = Pick<
  LogRecordInfo,
  'baseRevision' | 'revisions' | 'compactRevision' | 'compactedBy' | 'changes' | 'unreadable'
>;

function batchOf(record: Decoded, params: LogParams): BatchInfo {
  const writeSet = decodeWriteSet(record.payload);
  if (!writeSet.ok) return { unreadable: writeSet.error.message };
  const { baseRevision, revisionCount, compactRevision, origins: bytes } = writeSet.value;
  const origins = bytes === undefined ? undefined : decodeOrigins(bytes);
  const of = (revision: number): Origin | undefined =>
    origins?.ok === true ? origins.value.of(revision - baseRevision - 1) : undefined;
  const compactedBy = origins?.ok === true ? nameOf(origins.value.compactedBy) : '';
  return {
    baseRevision,
    revisions: revisionCount,
    ...(compactRevision === undefined ? {} : { compactRevision }),
    ...(compactedBy === '' ? {} : { compactedBy }),
    changes: changesOf(writeSet.value, params, of),
  };
}

const nameOf = (origin: Origin | undefined): string =>
  [origin?.user ?? '', origin?.client ?? ''].filter((name) => name !== '').join(' ');

function changesOf(
  writeSet: WriteSet,
  { key, values }: LogParams,
  of: (revision: number) => Origin | undefined,
): readonly LogChange[] {
  const changes: LogChange[] = [];
  for (const { type, kv } of writeSetEvents(writeSet)) {
    if (key !== undefined && !equalBytes(kv.key, key)) continue;
    const origin = of(kv.modRevision);
    changes.push({
      type,
      key: kv.key,
      revision: kv.modRevision,
      version: kv.version,
      valueBytes: kv.value.length,
      ...(values === true && type === 'put' ? { value: kv.value } : {}),
      user: origin?.user ?? '',
      client: origin?.client ?? '',
    });
  }
  return changes;
}

function membersOf(payload: Uint8Array): Pick<LogRecordInfo, 'voters' | 'learners' | 'unreadable'> {
  const membership = decodeMembership(payload);
  if (!membership.ok) return { unreadable: membership.error };
  const { voters, learners } = membership.value;
  return { voters: voters.map(formatId), learners: learners.map(formatId) };
}

function positionOf(from: NonNullable<LogCursor['position']>): LogPosition {
  return {
    term: term(from.term),
    leaderId: from.leaderId === '' ? '' : leaderId(from.leaderId),
    seq: from.seq,
    chainHash: fromHex(from.chainHash) ?? LOG_BEGIN.chainHash,
  };
}

function cursorAt(offset: number, position: LogPosition | undefined): LogCursor {
  if (position === undefined) return { offset };
  const { term: at, leaderId: leader, seq, chainHash } = position;
  return { offset, position: { term: at, leaderId: leader, seq, chainHash: toHex(chainHash) } };
}
