import { KvError } from '@kvorum/base';
import { BrokerConnection, type ConnectionOptions } from './broker-connection.ts';
import type { PartitionLeader } from './cluster-view.ts';
import type { FetchAnswer, FetchedPartition } from './kafka-api.ts';
import { reasonOf } from './kafka-errors.ts';
import type { InFlight, PendingRead } from './pending-read.ts';

/** Long polls out at once to one broker, whatever the number of shards. */
const LANES_MAX = 4;
/**
 * How long any but the first long poll lasts: when all lanes are out, a read for a further shard waits at most about this
 * long until one comes back and takes it along.
 */
const SIDE_LANE_WAIT_MS = 100;

export interface FetchSettings {
  readonly connection: ConnectionOptions;
  /** Longest long poll. */
  readonly pollMs: number;
  /** Largest answer of one fetch. */
  readonly bytesMax: number;
  /** Asked per topic: at least one whole record, even when it is not the first topic of the answer. */
  readonly topicBytesMax: number;
}

export interface FetchEvents {
  readonly onAnswer: (part: InFlight, partition: FetchedPartition | undefined) => void;
  readonly onFailure: (parts: readonly InFlight[], error: KvError) => void;
  /** A lane is free again. */
  readonly onIdle: () => void;
}

interface Lane {
  readonly waitMsMax: number;
  connection: BrokerConnection | undefined;
  isBusy: boolean;
}

/**
 * Fetches from one broker for all shards that it leads. A lane is a connection with at most one long poll on it, for every topic that waits
 * when it starts. Reads that come while it is out start the next lane, so they wait for nobody; under load all
 * that waits is fetched together.
 */
export class FetchHub {
  readonly #leader: PartitionLeader;
  readonly #settings: FetchSettings;
  readonly #events: FetchEvents;
  readonly #lanes: Lane[] = [];
  #turn = 0;
  #isClosed = false;

  constructor(leader: PartitionLeader, settings: FetchSettings, events: FetchEvents) {
    this.#leader = leader;
    this.#settings = settings;
    this.#events = events;
  }

  /** Starts a fetch for these reads when a lane is free; else leaves them waiting. */
  offer(reads: readonly PendingRead[]): void {
    if (reads.length === 0 || this.#isClosed) return;
    const lane = this.#freeLane();
    if (lane === undefined) return;
    const parts = this.#partsOf(reads);
    const leftMs = Math.max(
      ...parts.map(({ read }) => (read?.deadlineMs ?? 0) - performance.now()),
    );
    lane.isBusy = true;
    // Settles in every case; #run reports what happened through the events.
    void this.#run(lane, parts, Math.max(0, Math.min(lane.waitMsMax, Math.ceil(leftMs))));
  }

  close(): void {
    this.#isClosed = true;
    for (const { connection } of this.#lanes) connection?.destroy();
  }

  #freeLane(): Lane | undefined {
    const free = this.#lanes.find(({ isBusy }) => !isBusy);
    if (free !== undefined || this.#lanes.length >= LANES_MAX) return free;
    const waitMsMax = this.#lanes.length === 0 ? this.#settings.pollMs : SIDE_LANE_WAIT_MS;
    const lane: Lane = { waitMsMax, connection: undefined, isBusy: false };
    this.#lanes.push(lane);
    return lane;
  }

  /** One part per topic (a request cannot name one twice; the next lane takes the rest), in changing order: the first gets its bytes first. */
  #partsOf(reads: readonly PendingRead[]): readonly InFlight[] {
    const parts = new Map<string, InFlight>();
    this.#turn += 1;
    for (let i = 0; i < reads.length; i += 1) {
      const read = reads[(i + this.#turn) % reads.length] as PendingRead;
      if (parts.has(read.topic.topic)) continue;
      read.state = 'fetching';
      const part: InFlight = { topic: read.topic, from: read.from, read };
      read.topic.inFlight = part;
      parts.set(read.topic.topic, part);
    }
    return [...parts.values()];
  }

  async #run(lane: Lane, parts: readonly InFlight[], waitMs: number): Promise<void> {
    let answer: FetchAnswer | undefined;
    let failure: KvError | undefined;
    try {
      answer = await this.#fetch(lane, parts, waitMs);
    } catch (cause) {
      lane.connection?.destroy();
      lane.connection = undefined;
      const { host, port } = this.#leader;
      failure = new KvError('KV_LOG_UNAVAILABLE', `${host}:${port}: ${reasonOf(cause)}`, { cause });
    }
    lane.isBusy = false;
    for (const part of parts) {
      if (part.topic.inFlight === part) part.topic.inFlight = undefined;
    }
    if (failure !== undefined) this.#events.onFailure(parts, failure);
    for (const part of answer === undefined ? [] : parts) {
      const found = answer?.responses
        .find(({ topicName }) => topicName === part.topic.topic)
        ?.partitions.find(({ partition }) => partition === 0);
      this.#events.onAnswer(part, found);
    }
    this.#events.onIdle();
  }

  async #fetch(lane: Lane, parts: readonly InFlight[], waitMs: number): Promise<FetchAnswer> {
    const { connection: options, bytesMax, topicBytesMax } = this.#settings;
    if (lane.connection?.isOpen !== true) {
      lane.connection = undefined;
      const connection = await BrokerConnection.open(this.#leader, options);
      lane.connection = connection;
      if (this.#isClosed) throw new KvError('KV_STOPPED', 'the logs are closed');
    }
    const topics = parts.map(({ topic, from }) => ({
      topic: topic.topic,
      partitions: [{ partition: 0, fetchOffset: String(from), maxBytes: topicBytesMax }],
    }));
    const payload = {
      replicaId: -1,
      isolationLevel: 0,
      maxWaitTime: waitMs,
      minBytes: 1,
      maxBytes: bytesMax,
      topics,
    };
    return lane.connection.call('Fetch', payload, waitMs + options.requestTimeoutMs);
  }
}
