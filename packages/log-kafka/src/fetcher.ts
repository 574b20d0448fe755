import { setTimeout as sleep } from 'node:timers/promises';
import { KvError, type LogOffset, logOffset } from '@kvorum/base';
import type { LogBounds, LogEntry, ReadOutcome } from '@kvorum/ports';
import type { ClusterView, PartitionLeader } from './cluster-view.ts';
import { FetchHub, type FetchSettings } from './fetch-hub.ts';
import type { FetchedMessage, FetchedPartition } from './kafka-api.ts';
import { errorName, NO_ERROR, OFFSET_OUT_OF_RANGE, parseOffset, reasonOf } from './kafka-errors.ts';
import {
  fitting,
  type InFlight,
  PendingRead,
  type ReadOptions,
  type ReadTopic,
} from './pending-read.ts';
import { fetchBounds } from './topic-requests.ts';

/** Records that nobody asked for within this time are fetched again: they may be too old to be trusted. */
const STASH_MS = 1000;
/** A read above the end must be seen this often, this far apart: a stale broker may say it once. */
const ABOVE_END_CHECKS = 3;
const ABOVE_END_PAUSE_MS = 250;

const stopped = (): KvError => new KvError('KV_STOPPED', 'the log is closed');

/** All reads of one member: brings them to the brokers that lead their topics, and answers back. */
export class Fetcher {
  readonly #view: ClusterView;
  readonly #settings: FetchSettings;
  readonly #hubs = new Map<string, FetchHub>();
  readonly #reads = new Set<PendingRead>();
  #isScheduled = false;
  #isRefreshing = false;
  #isClosed = false;

  constructor(view: ClusterView, settings: FetchSettings) {
    this.#view = view;
    this.#settings = settings;
  }

  read(topic: ReadTopic, from: LogOffset, options: ReadOptions): Promise<ReadOutcome> {
    return new Promise((resolve) => {
      const onSettled = (read: PendingRead): void => {
        this.#reads.delete(read);
        if (topic.inFlight?.read === read) topic.inFlight.read = undefined;
      };
      const read = new PendingRead({ topic, from, options, resolve, onSettled });
      this.#reads.add(read);
      if (this.#isClosed) read.settle({ kind: 'unavailable', error: stopped() });
      else if (options.signal.aborted) read.settleEmpty();
      else if (!this.#takeStash(read)) this.#start(read);
    });
  }

  /** Ends the reads of one topic, or all of them. */
  stop(topic?: ReadTopic): void {
    for (const read of [...this.#reads]) {
      if (topic !== undefined && read.topic !== topic) continue;
      read.settle({ kind: 'unavailable', error: stopped() });
    }
  }

  close(): void {
    this.#isClosed = true;
    this.stop();
    for (const hub of this.#hubs.values()) hub.close();
  }

  #takeStash(read: PendingRead): boolean {
    const { stash } = read.topic;
    if (stash === undefined) return false;
    read.topic.stash = undefined;
    if (stash.from !== read.from || performance.now() - stash.sinceMs > STASH_MS) return false;
    this.#settleWith(read, stash.entries);
    return true;
  }

  #start(read: PendingRead): void {
    const { inFlight } = read.topic;
    if (inFlight !== undefined && inFlight.read === undefined && inFlight.from === read.from) {
      inFlight.read = read;
      read.state = 'fetching';
      return;
    }
    this.#schedule();
  }

  /** Once per turn of the event loop, so that reads made in one turn share a fetch. */
  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    if (this.#isClosed) return;
    const byHub = new Map<FetchHub, PendingRead[]>();
    for (const read of this.#reads) {
      if (read.state !== 'waiting') continue;
      const leader = this.#view.leaderOf(read.topic.topic);
      if (leader === undefined) {
        this.#findLeaders();
        continue;
      }
      const hub = this.#hub(leader);
      const reads = byHub.get(hub);
      if (reads === undefined) byHub.set(hub, [read]);
      else reads.push(read);
    }
    for (const [hub, reads] of byHub) hub.offer(reads);
  }

  #hub(leader: PartitionLeader): FetchHub {
    const key = `${leader.host}:${leader.port}`;
    const known = this.#hubs.get(key);
    if (known !== undefined) return known;
    const hub = new FetchHub(leader, this.#settings, {
      onAnswer: (part, partition) => this.#onAnswer(part, partition),
      onFailure: (parts, error) => {
        for (const part of parts) this.#onTrouble(part, error);
      },
      onIdle: () => this.#schedule(),
    });
    this.#hubs.set(key, hub);
    return hub;
  }

  #findLeaders(): void {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    const finish = (error?: unknown): void => {
      this.#isRefreshing = false;
      this.#failLeaderless(error);
      this.#schedule();
    };
    this.#view.refresh().then(() => finish(), finish);
  }

  #failLeaderless(cause: unknown): void {
    for (const read of [...this.#reads]) {
      const { topic } = read.topic;
      if (read.state !== 'waiting' || this.#view.leaderOf(topic) !== undefined) continue;
      if (cause === undefined && read.failure !== undefined) continue;
      const reason = cause === undefined ? 'no leader' : reasonOf(cause);
      read.fail(new KvError('KV_LOG_UNAVAILABLE', `${topic}: ${reason}`, { cause }));
    }
  }

  #onAnswer(part: InFlight, partition: FetchedPartition | undefined): void {
    if (partition === undefined || partition.errorCode === NO_ERROR) {
      this.#onRecords(part, partition);
    } else if (partition.errorCode === OFFSET_OUT_OF_RANGE) {
      if (part.read !== undefined) {
        part.read.state = 'checking';
        // Never rejects: it settles the read or lets it try again.
        void this.#checkRange(part.read);
      }
    } else {
      const what = `${part.topic.topic}: ${errorName(partition.errorCode)}`;
      this.#onTrouble(part, new KvError('KV_LOG_UNAVAILABLE', what));
    }
  }

  #onTrouble(part: InFlight, error: KvError): void {
    this.#view.suspect(part.topic.topic);
    part.read?.fail(error);
  }

  #onRecords(part: InFlight, partition: FetchedPartition | undefined): void {
    const { read, topic } = part;
    const end = parseOffset(partition?.highWatermark);
    if (end === undefined) {
      this.#onTrouble(part, new KvError('KV_LOG_UNAVAILABLE', `${topic.topic}: no answer`));
      return;
    }
    topic.end = end;
    topic.answeredMs = performance.now();
    const messages = partition?.messages ?? [];
    const entries = toEntries(messages, part.from);
    if (read === undefined) {
      if (entries.length > 0)
        topic.stash = { from: part.from, entries, sinceMs: performance.now() };
      return;
    }
    read.failure = undefined;
    if (entries.length > 0) {
      this.#settleWith(read, entries);
      return;
    }
    const last = parseOffset(messages.at(-1)?.offset);
    if (last !== undefined && last >= read.from) read.from = logOffset(last + 1);
    if (read.isLate) read.settleEmpty();
    else read.state = 'waiting';
  }

  /** Answers with what fits, and keeps the rest for the next read. */
  #settleWith(read: PendingRead, entries: readonly LogEntry[]): void {
    const { topic } = read;
    const count = fitting(entries, read.bytesMax);
    const rest = entries.slice(count);
    const next = rest[0];
    topic.stash =
      next === undefined
        ? undefined
        : { from: next.offset, entries: rest, sinceMs: performance.now() };
    const past = logOffset((entries[count - 1]?.offset ?? read.from) + 1);
    const end = topic.end === undefined || topic.end < past ? past : topic.end;
    read.settle({ kind: 'records', entries: entries.slice(0, count), end });
  }

  /** Below the start is final once seen with fresh metadata: starts only grow. Above the end must be seen several times. */
  async #checkRange(read: PendingRead): Promise<void> {
    const { topic } = read.topic;
    try {
      let bounds: LogBounds | undefined;
      for (let i = 0; i < ABOVE_END_CHECKS; i += 1) {
        if (i > 0) await sleep(ABOVE_END_PAUSE_MS);
        this.#view.suspect(topic);
        await this.#view.refresh();
        bounds = await fetchBounds(this.#view, topic);
        if (read.from <= bounds.end) break;
      }
      if (bounds === undefined || (read.from >= bounds.start && read.from <= bounds.end)) {
        read.fail(new KvError('KV_LOG_UNAVAILABLE', `${topic}: brokers disagree on its bounds`));
      } else {
        read.settle({ kind: 'out-of-range', bounds });
      }
    } catch (error) {
      read.fail(
        error instanceof KvError
          ? error
          : new KvError('KV_LOG_UNAVAILABLE', `${topic}: ${reasonOf(error)}`, { cause: error }),
      );
    }
    this.#schedule();
  }
}

/** A fetch returns whole batches, so it may start below the asked offset; markers of producer transactions are no records. */
function toEntries(messages: readonly FetchedMessage[], from: LogOffset): readonly LogEntry[] {
  const entries: LogEntry[] = [];
  for (const { offset: text, value, isControlRecord } of messages) {
    const offset = parseOffset(text);
    // Beyond 2^53 offsets are no longer exact: what follows cannot be ordered, so it is not handed out.
    if (offset === undefined) break;
    if (offset < from || isControlRecord) continue;
    entries.push({ offset, bytes: plain(value) });
  }
  return entries;
}

/** A view without Buffer's own `slice`, which would share memory where Uint8Array's copies. A tombstone is no bytes. */
function plain(value: Uint8Array | null): Uint8Array {
  return value === null
    ? new Uint8Array(0)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}
