import type { KvError, LogOffset } from '@kvorum/base';
import type { LogEntry, ReadOutcome } from '@kvorum/ports';

/** What fetches have learned of one topic. */
export interface ReadTopic {
  readonly topic: string;
  /** The newest high-water mark seen. */
  end: LogOffset | undefined;
  /** When a broker last answered a fetch of this topic, milliseconds. */
  answeredMs: number | undefined;
  /** Fetched records that nobody waited for any more, or that were beyond the reader's byte limit. */
  stash: Stash | undefined;
  /** The newest fetch on its way for this topic. */
  inFlight: InFlight | undefined;
}

export interface Stash {
  readonly from: LogOffset;
  readonly entries: readonly LogEntry[];
  readonly sinceMs: number;
}

/** One topic's part of a fetch request. Its reader may give up; the next one at the same offset takes over. */
export interface InFlight {
  readonly topic: ReadTopic;
  readonly from: LogOffset;
  read: PendingRead | undefined;
}

export interface ReadOptions {
  readonly bytesMax: number;
  readonly waitMs: number;
  readonly signal: AbortSignal;
}

/** One call of `read` that is not answered yet. */
export class PendingRead {
  readonly topic: ReadTopic;
  readonly bytesMax: number;
  readonly deadlineMs: number;
  /** Of an answer that is fresh enough to say "nothing new" at the deadline. */
  readonly #answeredMsMin: number;
  /** Where to fetch: the asked offset, or beyond records of no interest (producerTxn markers) that start there. */
  from: LogOffset;
  /**
   * `waiting` for a fetch; `fetching`; `checking` whether it is out of range (which ends by itself, later than the deadline
   * if need be); `settled`.
   */
  state: 'waiting' | 'fetching' | 'checking' | 'settled' = 'waiting';
  /** Why the last attempt failed; undefined after one that did not. */
  failure: KvError | undefined;
  readonly #resolve: (outcome: ReadOutcome) => void;
  readonly #signal: AbortSignal;
  readonly #timer: NodeJS.Timeout;
  readonly #onSettled: (read: PendingRead) => void;

  constructor(parts: {
    readonly topic: ReadTopic;
    readonly from: LogOffset;
    readonly options: ReadOptions;
    readonly resolve: (outcome: ReadOutcome) => void;
    readonly onSettled: (read: PendingRead) => void;
  }) {
    const { options } = parts;
    this.topic = parts.topic;
    this.from = parts.from;
    this.bytesMax = options.bytesMax;
    const nowMs = performance.now();
    this.deadlineMs = nowMs + options.waitMs;
    this.#answeredMsMin = nowMs - options.waitMs;
    this.#resolve = parts.resolve;
    this.#signal = options.signal;
    this.#onSettled = parts.onSettled;
    this.#timer = setTimeout(() => this.#expire(), options.waitMs);
    this.#signal.addEventListener('abort', this.#abort);
  }

  get isLate(): boolean {
    return performance.now() >= this.deadlineMs;
  }

  settle(outcome: ReadOutcome): void {
    if (this.state === 'settled') return;
    this.state = 'settled';
    clearTimeout(this.#timer);
    this.#signal.removeEventListener('abort', this.#abort);
    this.#onSettled(this);
    this.#resolve(outcome);
  }

  settleEmpty(): void {
    this.settle({ kind: 'records', entries: [], end: this.topic.end ?? this.from });
  }

  /** The attempt failed: tries again, unless its time is over. */
  fail(error: KvError): void {
    if (this.state === 'settled') return;
    this.failure = error;
    if (this.isLate) this.settle({ kind: 'unavailable', error });
    else this.state = 'waiting';
  }

  /**
   * Time is over. "Nothing new" says that the log answers, so it needs an answer of about now; without one the attempt on its way
   * decides: it is bounded.
   */
  #expire(): void {
    if (this.state === 'checking') return;
    const { answeredMs } = this.topic;
    if (this.failure !== undefined) this.settle({ kind: 'unavailable', error: this.failure });
    else if (answeredMs !== undefined && answeredMs >= this.#answeredMsMin) this.settleEmpty();
  }

  readonly #abort = (): void => this.settleEmpty();
}

/** As many entries as fit in `bytesMax`, at least one. */
export function fitting(entries: readonly LogEntry[], bytesMax: number): number {
  let bytes = 0;
  for (const [i, entry] of entries.entries()) {
    bytes += entry.bytes.length;
    if (i > 0 && bytes > bytesMax) return i;
  }
  return entries.length;
}
