import { KvError, type Limits, type LogOffset } from '@kvorum/base';
import type { AppendOutcome, LogBounds, ReadOutcome, SharedLog } from '@kvorum/ports';
import {
  type BrokerConnection,
  type ConnectionOptions,
  type KafkaLogger,
  SentError,
} from './broker-connection.ts';
import type { ClusterView } from './cluster-view.ts';
import type { Fetcher } from './fetcher.ts';
import type { ProduceAnswer } from './kafka-api.ts';
import { classifyProduce, errorName, NO_ERROR, parseOffset, reasonOf } from './kafka-errors.ts';
import { LeaderConnection } from './leader-connection.ts';
import type { ReadOptions, ReadTopic } from './pending-read.ts';
import { deleteRecords, fetchBounds } from './topic-requests.ts';

export interface KafkaLogParts {
  readonly topic: string;
  readonly view: ClusterView;
  readonly fetcher: Fetcher;
  readonly connection: ConnectionOptions;
  readonly limits: Pick<Limits, 'recordBytesMax'>;
  readonly produceTimeoutMs: number;
  readonly logger: KafkaLogger | undefined;
  readonly onClose: (log: KafkaLog) => void;
}

const stopped = (): KvError => new KvError('KV_STOPPED', 'the log is closed');
const absent = (error: KvError, oversize = false): AppendOutcome => ({
  kind: 'absent',
  error,
  oversize,
});

/** One shard's topic as one member has it open. */
export class KafkaLog implements SharedLog {
  readonly name: string;
  readonly #parts: KafkaLogParts;
  readonly #producer: LeaderConnection;
  readonly #readTopic: ReadTopic;
  #isClosed = false;

  constructor(parts: KafkaLogParts) {
    this.#parts = parts;
    this.name = parts.topic;
    this.#producer = new LeaderConnection(parts.topic, parts.view, parts.connection);
    this.#readTopic = {
      topic: parts.topic,
      end: undefined,
      answeredMs: undefined,
      stash: undefined,
      inFlight: undefined,
    };
  }

  async append(record: Uint8Array): Promise<AppendOutcome> {
    const limit = this.#parts.limits.recordBytesMax;
    if (this.#isClosed) return absent(stopped());
    if (record.length > limit) return absent(tooLarge(record.length, limit), true);
    const { produceTimeoutMs } = this.#parts;
    let connection: BrokerConnection;
    try {
      connection = await this.#producer.get(performance.now() + produceTimeoutMs);
    } catch (cause) {
      return absent(this.#unavailable(reasonOf(cause), cause));
    }
    if (this.#isClosed) return absent(stopped());
    let answer: ProduceAnswer;
    try {
      answer = await connection.produce({
        topic: this.name,
        record,
        key: undefined,
        acks: -1,
        timeoutMs: produceTimeoutMs,
      });
    } catch (cause) {
      this.#producer.drop();
      const error = this.#unavailable(reasonOf(cause), cause, cause instanceof SentError);
      return cause instanceof SentError ? { kind: 'unknown', error } : absent(error);
    }
    return this.#outcomeOf(answer, record.length);
  }

  async read(from: LogOffset, options: ReadOptions): Promise<ReadOutcome> {
    if (this.#isClosed) return { kind: 'unavailable', error: stopped() };
    return this.#parts.fetcher.read(this.#readTopic, from, options);
  }

  async bounds(): Promise<LogBounds | { readonly kind: 'unavailable'; readonly error: KvError }> {
    if (this.#isClosed) return { kind: 'unavailable', error: stopped() };
    try {
      return await fetchBounds(this.#parts.view, this.name);
    } catch (cause) {
      return { kind: 'unavailable', error: this.#unavailable(reasonOf(cause), cause) };
    }
  }

  async truncate(before: LogOffset): Promise<void> {
    if (this.#isClosed) return;
    try {
      await deleteRecords(this.#parts.view, this.name, before);
    } catch (error) {
      // Harmless by contract: the next truncation deletes more.
      this.#parts.logger?.('info', 'truncation failed', {
        log: this.name,
        before,
        reason: reasonOf(error),
      });
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#parts.fetcher.stop(this.#readTopic);
    this.#producer.close();
    this.#parts.onClose(this);
  }

  /** Reads the one answer that this request can have: our topic, partition 0, a code, an offset. */
  #outcomeOf(answer: ProduceAnswer, recordBytes: number): AppendOutcome {
    const found = answer.topics
      .find(({ topicName }) => topicName === this.name)
      ?.partitions.find(({ partition }) => partition === 0);
    const offset = parseOffset(found?.baseOffset);
    if (found?.errorCode === NO_ERROR && offset !== undefined) return { kind: 'appended', offset };
    if (found === undefined || found.errorCode === NO_ERROR) {
      this.#producer.drop();
      const what = found === undefined ? 'nothing about this topic' : `offset ${found.baseOffset}`;
      return { kind: 'unknown', error: this.#unavailable(`answered ${what}`, undefined, true) };
    }
    const name = errorName(found.errorCode);
    switch (classifyProduce(found.errorCode)) {
      case 'oversize':
        return absent(
          new KvError('KV_REQUEST_TOO_LARGE', `a log record of ${recordBytes} bytes: ${name}`, {
            details: { actual: recordBytes },
          }),
          true,
        );
      case 'absent':
        return absent(this.#unavailable(name));
      case 'unknown':
        this.#producer.drop();
        return { kind: 'unknown', error: this.#unavailable(name, undefined, true) };
    }
  }

  #unavailable(reason: string, cause?: unknown, isUnknown = false): KvError {
    return new KvError('KV_LOG_UNAVAILABLE', `${this.name}: ${reason}`, {
      cause,
      ...(isUnknown && { outcome: 'unknown' as const }),
    });
  }
}

function tooLarge(actual: number, limit: number): KvError {
  return new KvError('KV_REQUEST_TOO_LARGE', `a log record of ${actual} bytes`, {
    details: { actual, limit },
  });
}
