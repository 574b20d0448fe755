import { setTimeout as sleep } from 'node:timers/promises';
import { type LogOffset, logOffset } from '@kvorum/base';
import type { ClusterView } from './cluster-view.ts';
import type { Fetcher } from './fetcher.ts';
import { reasonOf } from './kafka-errors.ts';
import type { ReadTopic } from './pending-read.ts';
import { fetchBounds } from './topic-requests.ts';

/** Behind by more records than this after a read: what lies between is too old to matter. */
const LAG_MAX = 4096;
const RETRY_MS = 100;

export interface ElectionReaderParts {
  readonly topic: string;
  readonly view: ClusterView;
  readonly fetcher: Fetcher;
  readonly limits: { readonly logPollMs: number; readonly logReadBytesMax: number };
  readonly onRecord: (bytes: Uint8Array) => void;
  /** The topic does not answer, with the reason; or answers again, without one. */
  readonly onTrouble: (reason: string | undefined) => void;
}

/**
 * Follows one topic of messages from its end on: what was said before this process began is not for it. Whatever cannot be read
 * any more (deleted, cut off by a new partition leader, too far behind) is skipped, as lost messages.
 */
export class ElectionReader {
  readonly #parts: ElectionReaderParts;
  readonly #topic: ReadTopic;
  readonly #abort = new AbortController();
  #next: LogOffset | undefined;
  #answeredMs = 0;
  #troubled = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: ElectionReaderParts) {
    this.#parts = parts;
    this.#topic = {
      topic: parts.topic,
      end: undefined,
      answeredMs: undefined,
      stash: undefined,
      inFlight: undefined,
    };
  }

  /** Resolves when every record appended from now on will be read. Throws KV_LOG_UNAVAILABLE. */
  async start(): Promise<void> {
    await this.#jumpToEnd();
    this.#running = this.#run();
  }

  /** Whether a broker answered within the last `ms`. */
  answeredWithin(ms: number): boolean {
    return performance.now() - this.#answeredMs <= ms;
  }

  /** Ends the read under way; the fetcher is closed by its owner. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #jumpToEnd(): Promise<void> {
    const { end } = await fetchBounds(this.#parts.view, this.#parts.topic);
    this.#next = end;
    this.#answered();
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      try {
        if (this.#next === undefined) await this.#jumpToEnd();
        else await this.#read(this.#next);
      } catch (error) {
        await this.#failed(reasonOf(error));
      }
    }
  }

  async #read(from: LogOffset): Promise<void> {
    const { fetcher, limits, onRecord } = this.#parts;
    const outcome = await fetcher.read(this.#topic, from, {
      bytesMax: limits.logReadBytesMax,
      waitMs: limits.logPollMs,
      signal: this.#abort.signal,
    });
    if (this.#abort.signal.aborted) return;
    if (outcome.kind === 'unavailable') {
      await this.#failed(outcome.error.message);
      return;
    }
    this.#answered();
    if (outcome.kind === 'out-of-range') {
      this.#next = undefined;
      return;
    }
    for (const { bytes } of outcome.entries) onRecord(bytes);
    const last = outcome.entries.at(-1);
    const next = last === undefined ? from : logOffset(last.offset + 1);
    this.#next = outcome.end - next > LAG_MAX ? undefined : next;
  }

  #answered(): void {
    this.#answeredMs = performance.now();
    if (!this.#troubled) return;
    this.#troubled = false;
    this.#parts.onTrouble(undefined);
  }

  async #failed(reason: string): Promise<void> {
    if (!this.#troubled) {
      this.#troubled = true;
      this.#parts.onTrouble(reason);
    }
    await sleep(RETRY_MS);
  }
}
