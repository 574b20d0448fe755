import { type KvRequest, type ShardId, shardId, utf8, type WatchRequest } from '@kvorum/base';
import {
  type CheckReport,
  checkHistory,
  collectHistory,
  type Finding,
  type HistoryLine,
  type RecordedEvent,
  type RecordedHistory,
  type RecordedKeyValue,
  type RecordedResponse,
  type RecordedResult,
} from '@kvorum/simulator';

export const SHARD: ShardId = shardId(0);

export type Lived = { readonly value: string; readonly mod: number; readonly version?: number };

export function kv(key: string, { mod, value, version }: Lived): RecordedKeyValue {
  const counts = version === undefined ? {} : { version };
  return { key: utf8(key), value: utf8(value), modRevision: mod, ...counts };
}

export const put = (key: string, value: string): KvRequest => ({
  op: 'put',
  key: utf8(key),
  value: utf8(value),
});
export const get = (key: string): KvRequest => ({ op: 'range', key: utf8(key) });
export const del = (key: string): KvRequest => ({ op: 'delete-range', key: utf8(key) });
export const list = (from: string, to: string): KvRequest => ({
  op: 'range',
  key: utf8(from),
  rangeEnd: utf8(to),
});

/** Puts `value` if the key holds `expected`, undefined = is absent; else reads it. */
export function swap(key: string, expected: string | undefined, value: string): KvRequest {
  const target =
    expected === undefined
      ? ({ target: 'version', result: 'equal', value: 0 } as const)
      : ({ target: 'value', result: 'equal', value: utf8(expected) } as const);
  return {
    op: 'txn',
    compare: [{ key: utf8(key), ...target }],
    success: [{ op: 'put', key: utf8(key), value: utf8(value) }],
    failure: [{ op: 'range', key: utf8(key) }],
  };
}

/** Puts one value under several keys at once. */
export function putAll(keys: readonly string[], value: string): KvRequest {
  const success = keys.map((key) => ({ op: 'put', key: utf8(key), value: utf8(value) }) as const);
  return { op: 'txn', compare: [], success, failure: [] };
}

export function ok(revision: number, response: RecordedResponse): RecordedResult {
  return { outcome: 'ok', revision, response };
}
export const wrote = (revision: number): RecordedResult => ok(revision, { op: 'put' });
export const found = (revision: number, ...kvs: readonly RecordedKeyValue[]): RecordedResult =>
  ok(revision, { op: 'range', kvs });
export const deleted = (revision: number, count: number): RecordedResult =>
  ok(revision, { op: 'delete-range', deleted: count });
export const swapped = (revision: number): RecordedResult =>
  ok(revision, { op: 'txn', succeeded: true, responses: [{ op: 'put' }] });
export const notSwapped = (revision: number, ...kvs: readonly RecordedKeyValue[]): RecordedResult =>
  ok(revision, { op: 'txn', succeeded: false, responses: [{ op: 'range', kvs }] });
export const allPut = (revision: number, count: number): RecordedResult =>
  ok(revision, {
    op: 'txn',
    succeeded: true,
    responses: Array.from({ length: count }, () => ({ op: 'put' }) as const),
  });
export const failed: RecordedResult = { outcome: 'failed', code: 'KV_DEPOSED' };
export const unknown: RecordedResult = { outcome: 'unknown', code: 'KV_TIMEOUT' };

/** Writes a history line by line. */
export class HistoryBuilder {
  readonly lines: HistoryLine[] = [];
  #clock = 0;
  #id = 0;

  /** An operation after everything before it. */
  op(request: KvRequest, result: RecordedResult, process = 'c0'): this {
    return this.during([this.#clock + 1, this.#clock + 2], request, result, process);
  }

  /** An operation at a time of its own. */
  during(
    [call, end]: readonly [call: number, end: number],
    request: KvRequest,
    result: RecordedResult,
    process = `p${this.#id}`,
  ): this {
    const id = this.#id;
    this.#id += 1;
    this.#clock = Math.max(this.#clock, end);
    const who = { id, client: process, process, shard: SHARD };
    this.lines.push({ type: 'operation', ...who, call, return: end, request, result });
    return this;
  }

  watch(stream: string, request: Partial<WatchRequest> = {}): this {
    const asked: WatchRequest = { key: utf8('a'), rangeEnd: utf8('z'), ...request };
    this.#clock += 1;
    const at = this.#clock;
    this.lines.push({ type: 'watch', stream, client: stream, shard: SHARD, at, request: asked });
    return this;
  }

  /** One delivery. */
  events(stream: string, events: readonly RecordedEvent[], through?: number): this {
    this.#clock += 1;
    const promise = through === undefined ? {} : { through };
    this.lines.push({ type: 'events', stream, at: this.#clock, events, ...promise });
    return this;
  }

  end(stream: string, compactRevision?: number): this {
    this.#clock += 1;
    const gone = compactRevision === undefined ? {} : { compactRevision };
    this.lines.push({ type: 'watch-end', stream, at: this.#clock, code: 'cut', ...gone });
    return this;
  }

  history(): RecordedHistory {
    const header = { type: 'history', version: 1, source: 'test', tick: 'event' } as const;
    return collectHistory(header, this.lines);
  }

  check(): CheckReport {
    return checkHistory(this.history());
  }

  /** The rules found broken, by checker. */
  rules(checker?: Finding['checker']): readonly string[] {
    const { findings } = this.check();
    const names = findings
      .filter((finding) => checker === undefined || finding.checker === checker)
      .map(({ rule }) => rule);
    return [...new Set(names)];
  }
}

export function putEvent(
  key: string,
  value: string,
  revision: number,
  previous?: RecordedKeyValue,
): RecordedEvent {
  const before = previous === undefined ? {} : { prevKv: previous };
  return {
    type: 'put',
    kv: { key: utf8(key), value: utf8(value), modRevision: revision },
    ...before,
  };
}

export function deleteEvent(key: string, revision: number): RecordedEvent {
  return { type: 'delete', kv: { key: utf8(key), modRevision: revision } };
}
