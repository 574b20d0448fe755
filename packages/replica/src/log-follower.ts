import type { Limits, LogOffset } from '@kvorum/base';
import type { Clock, LogEntry, Rng, SharedLog } from '@kvorum/ports';

const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 1000;
/** Fewer bytes in one read are a trickle: the next read may wait this many pauses for more. */
const TRICKLE_BYTES = 64 * 1024;
const TRICKLE_PAUSES = 4;

export interface FollowSink {
  /** Next entries in offset order; resolves when the consumer has room for more. */
  readonly entries: (entries: readonly LogEntry[], nextOffset: LogOffset) => Promise<void>;
  readonly outOfRange: (start: LogOffset, end: LogOffset) => void;
  readonly reachable: (reachable: boolean) => void;
  /** Whether a record was read at this offset before, so that it must still be there. */
  readonly known: (offset: LogOffset) => boolean;
  /** Nobody waits for the next record: let some gather before the next read. */
  readonly patient: () => boolean;
  /** Following broke on a bug: nothing more is delivered. */
  readonly broken: (error: unknown) => void;
}

/**
 * Reads a log from an offset on until it is told to stop: one long poll at a time, back-off while it does not answer.
 *
 * Why the pause between reads: a poll that always waits at the end of the log wakes broker and follower for every single
 * record, at the very moment when the leader waits for its acknowledgement. A few milliseconds later several records come
 * for the price of one. While little comes the pause is longer and ends at a moment that all replicas of the process
 * share: then one request asks for all their shards (docs/adr/0018).
 */
export class LogFollower {
  readonly #log: Pick<SharedLog, 'read'>;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #sink: FollowSink;
  #current: AbortController | undefined;
  #loop: Promise<void> = Promise.resolve();
  #endPause: () => void = () => undefined;

  constructor(
    log: Pick<SharedLog, 'read'>,
    sink: FollowSink,
    ports: { clock: Clock; rng: Rng; limits: Limits },
  ) {
    this.#log = log;
    this.#sink = sink;
    this.#limits = ports.limits;
    this.#clock = ports.clock;
    this.#rng = ports.rng;
  }

  /** Starts over from `from`; an earlier follow delivers nothing more. */
  follow(from: LogOffset): void {
    this.stop();
    const controller = new AbortController();
    this.#current = controller;
    this.#loop = this.#run(from, controller.signal).catch(this.#sink.broken);
  }

  stop(): void {
    this.#current?.abort();
    this.#current = undefined;
  }

  /** Somebody waits for the next record: read now. */
  hurry(): void {
    this.#endPause();
  }

  /** Resolves when no read is outstanding any more. */
  async stopped(): Promise<void> {
    this.stop();
    await this.#loop;
  }

  async #run(from: LogOffset, signal: AbortSignal): Promise<void> {
    let next = from;
    let backoffMs = BACKOFF_MS_MIN;
    while (!signal.aborted) {
      const outcome = await this.#log.read(next, {
        bytesMax: this.#limits.logReadBytesMax,
        waitMs: this.#limits.logPollMs,
        signal,
      });
      if (signal.aborted) return;
      if (outcome.kind === 'out-of-range') {
        this.#sink.outOfRange(outcome.bounds.start, outcome.bounds.end);
        return;
      }
      if (outcome.kind === 'unavailable') {
        this.#sink.reachable(false);
        const delayMs = this.#rng.integer(Math.ceil(backoffMs / 2), backoffMs + 1);
        await this.#pause(delayMs, signal);
        backoffMs = Math.min(backoffMs * 2, BACKOFF_MS_MAX);
        continue;
      }
      backoffMs = BACKOFF_MS_MIN;
      this.#sink.reachable(true);
      // Back after an outage the consumer starts over, to see the last record it knows once more.
      if (signal.aborted) return;
      next = await this.#deliver(outcome.entries, next, signal);
    }
  }

  /** Returns the offset to go on from. */
  async #deliver(
    entries: readonly LogEntry[],
    from: LogOffset,
    signal: AbortSignal,
  ): Promise<LogOffset> {
    const last = entries.at(-1);
    if (last === undefined) {
      if (this.#sink.known(from)) await this.#probe(from, signal);
      return from;
    }
    const next = (last.offset + 1) as LogOffset;
    await this.#sink.entries(entries, next);
    if (!signal.aborted && this.#sink.patient()) {
      await this.#pause(this.#gatherMs(entries), signal);
    }
    return next;
  }

  /** How long to let records gather after these. */
  #gatherMs(entries: readonly LogEntry[]): number {
    const { followPauseMs } = this.#limits;
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0);
    if (bytes >= TRICKLE_BYTES || followPauseMs === 0) return followPauseMs;
    const everyMs = followPauseMs * TRICKLE_PAUSES;
    return everyMs - (this.#clock.nowMs() % everyMs);
  }

  /**
   * A known record is not to be had. Either the high-water mark is late: then the offset behind the record is still within the log. Or
   * that is out of range too: then the record is gone, and waiting for it would never end.
   */
  async #probe(known: LogOffset, signal: AbortSignal): Promise<void> {
    const behind = (known + 1) as LogOffset;
    const outcome = await this.#log.read(behind, { bytesMax: 1, waitMs: 0, signal });
    if (signal.aborted || outcome.kind !== 'out-of-range') return;
    this.#sink.outOfRange(outcome.bounds.start, outcome.bounds.end);
  }

  #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.#clock.setTimer(delayMs, done);
      signal.addEventListener('abort', done);
      this.#endPause = done;
    });
  }
}
