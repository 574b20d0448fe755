import type { KvError, LogOffset, ShardId } from '@kvorum/base';

/** One record as it lies in the log. */
export interface LogEntry {
  readonly offset: LogOffset;
  readonly bytes: Uint8Array;
}

/**
 * What became of an append.
 *
 * `appended`: durable by the log's own rule (Kafka: acks=all) at exactly `offset`, and the answer belongs to this very request
 * (no idempotent or transactional producer, so never an older one's offset).
 * `absent`: certainly not in the log, now or later. `unknown`: may be there, or may still land later.
 */
export type AppendOutcome =
  | { readonly kind: 'appended'; readonly offset: LogOffset }
  | { readonly kind: 'absent'; readonly error: KvError; readonly oversize: boolean }
  | { readonly kind: 'unknown'; readonly error: KvError };

/** `start` = first offset still readable, `end` = one past the last readable record. */
export interface LogBounds {
  readonly start: LogOffset;
  readonly end: LogOffset;
}

export type ReadOutcome =
  /** Records in offset order from the asked offset on; none when nothing arrived within the wait. Holes are legal. */
  | { readonly kind: 'records'; readonly entries: readonly LogEntry[]; readonly end: LogOffset }
  /** The asked offset is below the start or above the end, confirmed against fresh metadata. */
  | { readonly kind: 'out-of-range'; readonly bounds: LogBounds }
  | { readonly kind: 'unavailable'; readonly error: KvError };

/**
 * A totally ordered, durable log of one shard's generation: no conditional append, no seal, any number of
 * writers. The contract suite is `testkit/src/contract/shared-log.ts`.
 */
export interface SharedLog {
  /** The topic's name, for people. */
  readonly name: string;
  /**
   * Appends one record. Never retries inside. At most one append is in flight per instance (the caller's duty).
   * Always settles, also when the log cannot be reached.
   */
  append(record: Uint8Array): Promise<AppendOutcome>;
  /**
   * Reads from `from` (inclusive); waits up to `waitMs` for the first record. At least one whole record is returned when one
   * is there, whatever its size. `signal` ends the wait early with no records.
   */
  read(
    from: LogOffset,
    options: { readonly bytesMax: number; readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<ReadOutcome>;
  /** For metrics, probes and truncation decisions only; never a read index. */
  bounds(): Promise<LogBounds | { readonly kind: 'unavailable'; readonly error: KvError }>;
  /** Deletes records below `before`; best effort, harmless when it fails. */
  truncate(before: LogOffset): Promise<void>;
  close(): Promise<void>;
}

export interface LogSpec {
  readonly shard: ShardId;
  /** 0 at birth; recovery of a halted shard starts the next one. */
  readonly generation: number;
}

/** Name of a shard's log: generation 0 is `raft-log-<shard>`, later ones `raft-log-<shard>.g<n>`, behind the prefix. */
export type LogName = string;

/** Opens the logs of one cluster; owns the connections they share. */
export interface SharedLogs {
  /**
   * Opens a log, creating it when it does not exist and `create` is set.
   * Errors: KV_LOG_UNAVAILABLE (nobody answers), KV_LOG_MISCONFIGURED (each unsafe setting with its fix in the message).
   */
  open(spec: LogSpec, options: { readonly create: boolean }): Promise<SharedLog>;
  /**
   * Checks the settings of every open log again; returns the problems found, each with its fix.
   * Errors: KV_LOG_UNAVAILABLE when nobody can be asked now.
   */
  verify(): Promise<readonly { readonly log: LogName; readonly problem: string }[]>;
  close(): Promise<void>;
}
