import { type KvRequest, prefixEnd, utf8 } from '@kvorum/base';
import type { History, LeasePut, OpRecord, SeenEvent, WatchRecord } from '../history.ts';
import { listRequest, writeRequest } from '../requests.ts';
import type { LogPosition } from './log-replay.ts';
import {
  collectHistory,
  type HistoryLine,
  type RecordedEvent,
  type RecordedHistory,
  type RecordedKeyValue,
  type RecordedResponse,
} from './recorded-history.ts';

/**
 * A simulated run in the file format: its times are places in the order of events.
 * @param logs - the records of each shard from offset 0 on; a shard without is judged by what clients saw.
 * @param run - for people: seed, commit.
 */
export function recordSimulation(
  history: Pick<History, 'ops' | 'leasePuts' | 'watches'>,
  logs: ReadonlyMap<string, readonly LogPosition[]>,
  run: Readonly<Record<string, string | number | boolean>>,
): RecordedHistory {
  const lines: HistoryLine[] = history.ops.map(operationOf);
  for (const [i, put] of history.leasePuts.entries()) lines.push(leasePutOf(put, i));
  for (const watch of history.watches) lines.push(...watchLines(watch));
  for (const [shard, records] of logs) {
    for (const { bytes, offset } of records) lines.push({ type: 'log', shard, offset, bytes });
  }
  const header = { type: 'history', version: 1, source: 'simulator', tick: 'event', run } as const;
  return collectHistory(header, lines);
}

function operationOf({ client, end, id, op, outcome, shard, start }: OpRecord): HistoryLine {
  const request = writeRequest(op) ?? readRequest({ op, shard });
  const who = { type: 'operation', id, client, process: client, shard, call: start } as const;
  const done = end === undefined ? {} : { return: end };
  if (outcome?.kind === 'ok') {
    const response = responseOf(request, outcome);
    return {
      ...who,
      ...done,
      request,
      result: { outcome: 'ok', revision: outcome.revision, response },
    };
  }
  const result = { outcome: outcome?.kind ?? 'unknown', code: outcome?.code ?? 'no answer' };
  return { ...who, ...done, request, result };
}

/** Ids of puts on leases begin above all others. */
const FIRST_LEASE_PUT = 1_000_000_000;

function leasePutOf(put: LeasePut, i: number): HistoryLine {
  const { client, shard, start, end, outcome, lease } = put;
  const request = { op: 'put', key: utf8(put.key), value: utf8(put.value), lease } as const;
  const id = FIRST_LEASE_PUT + i;
  const done = end === undefined ? {} : { return: end };
  const who = { type: 'operation', id, client, process: client, shard, call: start } as const;
  if (outcome?.kind === 'ok') {
    const { revision } = outcome;
    const result = { outcome: 'ok', revision, response: { op: 'put' } } as const;
    return { ...who, ...done, request, result };
  }
  const result = { outcome: outcome?.kind ?? 'unknown', code: outcome?.code ?? 'no answer' };
  return { ...who, ...done, request, result };
}

function readRequest({ op, shard }: Pick<OpRecord, 'op' | 'shard'>): KvRequest {
  if (op.kind === 'list') return listRequest(shard, op.stale);
  const key = utf8('key' in op ? op.key : '');
  return op.kind === 'past' ? { op: 'range', key, revision: op.revision } : { op: 'range', key };
}

function responseOf(
  request: KvRequest,
  outcome: OpRecord['outcome'] & { readonly kind: 'ok' },
): RecordedResponse {
  const kvs = [...outcome.found].map(([key, text]) => foundKeyValue(key, text));
  const { changed } = outcome;
  switch (request.op) {
    case 'put':
    case 'compact':
      return { op: request.op };
    case 'range':
      return { op: 'range', kvs };
    case 'delete-range':
      return { op: 'delete-range', deleted: changed ? 1 : 0 };
    case 'txn': {
      const responses = changed
        ? request.success.map(() => ({ op: 'put' }) as const)
        : [{ op: 'range', kvs } as const];
      return { op: 'txn', succeeded: changed, responses };
    }
  }
}

/** From `value@modRevision`. */
function foundKeyValue(key: string, text: string): RecordedKeyValue {
  const at = text.lastIndexOf('@');
  const modRevision = Number(text.slice(at + 1));
  return { key: utf8(key), value: utf8(text.slice(0, at)), modRevision };
}

/** A watch over all its connections; where a compaction made it skip, it is opened again. */
function watchLines(watch: WatchRecord): HistoryLine[] {
  const { from, name: stream, next, seen, shown, skipped } = watch;
  const last = Math.max(0, ...shown.map(([at]) => at));
  const lines: HistoryLine[] = [open(watch, 0, from)];
  const gaps = [...skipped];
  for (const [revision, events] of byRevision(seen)) {
    const at = shown.find(([, highest]) => highest >= revision)?.[0] ?? last;
    for (let gap = gaps[0]; gap !== undefined && gap[1] < revision; gap = gaps[0]) {
      lines.push(...skip(watch, gap, at));
      gaps.shift();
    }
    lines.push({ type: 'events', stream, at, events });
  }
  for (const gap of gaps) lines.push(...skip(watch, gap, last));
  if (next > from) lines.push({ type: 'events', stream, at: last, events: [], through: next - 1 });
  return lines;
}

function open(watch: WatchRecord, at: number, startRevision: number): HistoryLine {
  const { key, name, shard, withPrevious } = watch;
  const range = { key: utf8(key ?? `s${shard}/`) };
  const whole = key === undefined ? { rangeEnd: prefixEnd(range.key) } : {};
  const request = { ...range, ...whole, startRevision, prevKv: withPrevious };
  return { type: 'watch', stream: name, client: name, shard, at, request };
}

function skip(
  watch: WatchRecord,
  [from, to]: readonly [number, number],
  at: number,
): HistoryLine[] {
  const stream = watch.name;
  return [
    { type: 'events', stream, at, events: [], through: from - 1 },
    { type: 'watch-end', stream, at, code: 'KV_COMPACTED', compactRevision: to },
    open(watch, at, to + 1),
  ];
}

/** What was seen of one revision came in one delivery: the simulator takes them whole. */
function byRevision(seen: readonly SeenEvent[]): readonly (readonly [number, RecordedEvent[]])[] {
  const groups: [number, RecordedEvent[]][] = [];
  for (const one of seen) {
    const last = groups.at(-1);
    if (last?.[0] === one.revision) last[1].push(eventOf(one));
    else groups.push([one.revision, [eventOf(one)]]);
  }
  return groups;
}

function eventOf({ key, previous, revision, value }: SeenEvent): RecordedEvent {
  const kv = { key: utf8(key), modRevision: revision };
  const before =
    previous === undefined ? {} : { prevKv: { key: utf8(key), value: utf8(previous) } };
  if (value === undefined) return { type: 'delete', kv, ...before };
  return { type: 'put', kv: { ...kv, value: utf8(value) }, ...before };
}
