import { setImmediate as nextTurn } from 'node:timers/promises';
import { KvError, type MemberId } from '@kvorum/base';
import type { PeerEnvelope } from '@kvorum/ports';
import type { AddressedMessage } from '@kvorum/wire';
import { SentError } from './broker-connection.ts';
import { FRAME_BYTES_MAX } from './election-topics.ts';
import { errorName, NO_ERROR, reasonOf } from './kafka-errors.ts';
import type { LeaderConnection } from './leader-connection.ts';

/** A message that could not leave for so long helps nobody: its sender has said something newer, or gave up. */
const STALE_MS = 2000;
/** A hung broker is replaced no sooner than its session ends, so giving it up earlier would only tear down connections to slow ones. */
const PRODUCE_TIMEOUT_MS = 1500;
/** How long one try waits for the topic's partition to have a leader. */
const CONNECT_MS = 500;

export interface ElectionWriterParts {
  readonly topic: string;
  readonly leader: LeaderConnection;
  /** Kafka keeps the last record of each key. */
  readonly key: Uint8Array;
  /** Most messages that wait; beyond it the oldest make room. */
  readonly queueMax: number;
  readonly encode: (messages: readonly AddressedMessage[]) => Uint8Array;
  readonly onProduced: (produced: {
    readonly messages: number;
    readonly bytes: number;
    readonly ms: number;
  }) => void;
  readonly onLost: (messages: number, reason: string) => void;
}

interface Waiting {
  readonly to: MemberId[];
  readonly envelope: PeerEnvelope;
  readonly sinceMs: number;
}

/**
 * Writes messages to one topic: one record for all that was sent in one turn of the event loop, one request at a time, so that what is sent
 * meanwhile shares the next record. Never tries again: a message is lost with its request.
 */
export class ElectionWriter {
  readonly #parts: ElectionWriterParts;
  #waiting: Waiting[] = [];
  /** The newest waiting message of each payload: one for several members is written once. */
  readonly #byPayload = new Map<unknown, Waiting>();
  #presence = false;
  #isWriting = false;
  #writing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(parts: ElectionWriterParts) {
    this.#parts = parts;
  }

  send(to: MemberId, envelope: PeerEnvelope): void {
    if (this.#isClosed) return;
    const { shard, payload } = envelope;
    const isObject = typeof payload === 'object' && payload !== null;
    const same = isObject ? this.#byPayload.get(payload) : undefined;
    if (same?.envelope.shard === shard) {
      same.to.push(to);
    } else {
      const waiting: Waiting = { to: [to], envelope, sinceMs: performance.now() };
      this.#waiting.push(waiting);
      if (isObject) this.#byPayload.set(payload, waiting);
      if (this.#waiting.length > this.#parts.queueMax) this.#dropOldest();
    }
    this.#start();
  }

  /** Writes a record soon even if it carries no message. */
  presence(): void {
    this.#presence = true;
    this.#start();
  }

  /** Takes nothing more; resolves when what was taken before has left, or failed to. */
  async finish(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting = [];
    this.#presence = false;
    this.#parts.leader.close();
  }

  #dropOldest(): void {
    const oldest = this.#waiting.shift();
    if (oldest !== undefined) this.#byPayload.delete(oldest.envelope.payload);
    this.#parts.onLost(1, 'too many messages wait');
  }

  #start(): void {
    if (this.#isWriting) return;
    this.#isWriting = true;
    this.#writing = this.#write();
  }

  async #write(): Promise<void> {
    for (;;) {
      // Timers and sockets of this turn may have more to say.
      await nextTurn();
      if (this.#waiting.length === 0 && !this.#presence) break;
      this.#presence = false;
      const messages = this.#take();
      for (const part of this.#frames(messages)) {
        await this.#produce(part.bytes, part.count);
      }
    }
    this.#isWriting = false;
  }

  #take(): readonly AddressedMessage[] {
    const oldestMs = performance.now() - STALE_MS;
    const all = this.#waiting;
    this.#waiting = [];
    this.#byPayload.clear();
    const fresh = all.filter(({ sinceMs }) => sinceMs >= oldestMs);
    if (fresh.length < all.length) this.#parts.onLost(all.length - fresh.length, 'too old');
    return fresh.map(({ to, envelope }) => ({ to, ...envelope }));
  }

  /** Halves what is larger than a record may be. */
  #frames(
    messages: readonly AddressedMessage[],
  ): readonly { readonly bytes: Uint8Array; readonly count: number }[] {
    const bytes = this.#parts.encode(messages);
    if (bytes.length <= FRAME_BYTES_MAX) return [{ bytes, count: messages.length }];
    if (messages.length <= 1) {
      this.#parts.onLost(messages.length, `a message of ${bytes.length} bytes`);
      return [];
    }
    const half = Math.ceil(messages.length / 2);
    return [...this.#frames(messages.slice(0, half)), ...this.#frames(messages.slice(half))];
  }

  async #produce(record: Uint8Array, messages: number): Promise<void> {
    const { topic, leader, key, onProduced, onLost } = this.#parts;
    const startedMs = performance.now();
    try {
      const connection = await leader.get(startedMs + CONNECT_MS);
      if (performance.now() - startedMs > STALE_MS) throw new KvError('KV_LOG_UNAVAILABLE', 'late');
      const answer = await connection.produce({
        topic,
        record,
        key,
        acks: 1,
        timeoutMs: PRODUCE_TIMEOUT_MS,
      });
      const code = answer.topics[0]?.partitions[0]?.errorCode;
      if (code !== NO_ERROR) {
        const what = code === undefined ? 'no answer' : errorName(code);
        throw new SentError('KV_LOG_UNAVAILABLE', what, { outcome: 'unknown' });
      }
      onProduced({ messages, bytes: record.length, ms: performance.now() - startedMs });
    } catch (error) {
      leader.drop();
      onLost(messages, reasonOf(error));
    }
  }
}
