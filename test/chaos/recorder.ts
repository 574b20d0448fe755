import { isKvError, type KvRequest } from '@kvorum/base';
import type { HistoryWriter, RecordedResponse } from '@kvorum/simulator';

/** What is known of an operation when it is sent. */
export interface Called {
  readonly client: string;
  readonly process: string;
  /** What its revisions count in: see `Timelines`. */
  readonly timeline: string;
  /** The shard whose load it is part of. */
  readonly shard: string;
  readonly request: KvRequest;
  readonly member?: string;
}

export interface Answered {
  readonly revision: number;
  readonly response: RecordedResponse;
}

/** An answered operation. */
export interface Answer {
  readonly shard: string;
  readonly kind: 'write' | 'read';
  readonly startMs: number;
  readonly endMs: number;
}

/** What the operations of one kind came to. */
export interface Outcomes {
  ok: number;
  failed: number;
  unknown: number;
}

/** Beyond its deadline an operation may take so long to say that it ended: machines are busy, timers late. */
const ANSWER_SLACK_MS = 15_000;

/** Time of a run in milliseconds, monotonic. */
export const nowMs = (): number => performance.now();

/** Writes what clients do to a history, and counts it. */
export class Recorder {
  readonly history: HistoryWriter;
  /** Acknowledged writes and answered linearizable reads; whoever has used them may empty it. */
  readonly answers: Answer[] = [];
  readonly #outcomes = new Map<string, Outcomes>();
  readonly #codes = new Map<string, number>();
  /** Operations that were refused for the lack of a right, by client. */
  readonly denied = new Map<string, number>();
  readonly #open = new Map<object, { readonly text: string; readonly untilMs: number }>();

  constructor(history: HistoryWriter) {
    this.history = history;
  }

  /**
   * Sends an operation and records its answer; undefined when it failed. `timeoutMs` is the deadline that it was given. Never
   * rejects.
   */
  async run(
    called: Called,
    timeoutMs: number,
    send: () => Promise<Answered>,
  ): Promise<Answered | undefined> {
    const startMs = nowMs();
    const { timeline, shard, ...rest } = called;
    const { client, request } = called;
    const operation = this.history.call(microseconds(startMs), { ...rest, shard: timeline });
    const text = `${request.op} of ${client} on shard ${shard}`;
    this.#open.set(operation, { text, untilMs: startMs + timeoutMs + ANSWER_SLACK_MS });
    const counts = this.#countsOf(called);
    try {
      const answer = await send();
      const endMs = nowMs();
      operation.finish(microseconds(endMs), { outcome: 'ok', ...answer });
      counts.ok += 1;
      const isStale = request.op === 'range' && request.serializable === true;
      const kind = isWrite(request) ? 'write' : 'read';
      if (!isStale) this.answers.push({ shard, kind, startMs, endMs });
      return answer;
    } catch (error) {
      const code = isKvError(error) ? error.code : String(error);
      // A read changes nothing, whatever became of it.
      const surely = !isWrite(request) || (isKvError(error) && error.outcome === 'not-applied');
      const outcome = surely ? 'failed' : 'unknown';
      operation.finish(microseconds(nowMs()), { outcome, code });
      counts[outcome] += 1;
      this.#codes.set(code, (this.#codes.get(code) ?? 0) + 1);
      if (code === 'KV_PERMISSION_DENIED') {
        this.denied.set(client, (this.denied.get(client) ?? 0) + 1);
      }
      return undefined;
    } finally {
      this.#open.delete(operation);
    }
  }

  /** A fault, for the timeline. */
  note(fromMs: number, untilMs: number, text: string): void {
    const [at, until] = [microseconds(fromMs), microseconds(untilMs)];
    this.history.write({ type: 'note', at, until, text });
  }

  /** Operations that should have ended by now, whatever their answer. */
  overdue(): readonly string[] {
    const now = nowMs();
    return [...this.#open.values()].flatMap(({ text, untilMs }) => (now > untilMs ? [text] : []));
  }

  /** Operations without an answer, yet. */
  get open(): readonly string[] {
    return [...this.#open.values()].map(({ text }) => text);
  }

  /** Kind of operation → outcomes. */
  get outcomes(): Readonly<Record<string, Outcomes>> {
    return Object.fromEntries(this.#outcomes);
  }

  /** Error code → how often. */
  get codes(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#codes);
  }

  #countsOf(called: Called): Outcomes {
    const kind = kindOf(called);
    const counts = this.#outcomes.get(kind) ?? { ok: 0, failed: 0, unknown: 0 };
    this.#outcomes.set(kind, counts);
    return counts;
  }
}

export function microseconds(ms: number): number {
  return Math.round(ms * 1000);
}

function isWrite(request: KvRequest): boolean {
  if (request.op === 'txn') {
    return [...request.success, ...request.failure].some(({ op }) => op !== 'range');
  }
  return request.op !== 'range';
}

/** For the report. */
function kindOf(called: Called): string {
  const kind = kindOfRequest(called.request);
  return called.member === undefined ? kind : `${kind} at a chosen member`;
}

function kindOfRequest(request: KvRequest): string {
  if (request.op === 'range') return request.serializable === true ? 'read, serializable' : 'read';
  if (request.op === 'put' && request.lease !== undefined) return 'put on a lease';
  if (request.op === 'delete-range') return 'delete';
  if (request.op !== 'txn') return request.op;
  if (!isWrite(request)) return 'read of two keys in a txn';
  return request.compare.length > 0 ? 'compare and set' : 'txn of several keys';
}
