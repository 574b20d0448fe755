import type { KvRequest, WatchRequest } from '@kvorum/base';

/** Version of the history file format; see docs/testing.md, "Histories and checkers". */
export const HISTORY_VERSION = 1;

/** The first line of a history. */
export interface HistoryHeader {
  readonly type: 'history';
  readonly version: typeof HISTORY_VERSION;
  /** What recorded it: `simulator`, `chaos`, … */
  readonly source: string;
  /** Unit of every time in the file. `event`: a count that gives the order and no duration. */
  readonly tick: 'ms' | 'us' | 'event';
  /** How to run it again, for people: seed, commit, options. */
  readonly run?: Readonly<Record<string, string | number | boolean>>;
}

/** A key as it was answered. A field that is absent was not recorded and is not judged. */
export interface RecordedKeyValue {
  readonly key: Uint8Array;
  readonly value?: Uint8Array;
  readonly modRevision?: number;
  readonly createRevision?: number;
  readonly version?: number;
  readonly lease?: bigint;
}

/**
 * An answer, in the shape of the API (`KvResponse`). `revision` of the outermost answer is required: a write's own, or the
 * shard's when it was read. A `prevKv` that was asked for and is absent says that there was none.
 */
export type RecordedResponse =
  | {
      readonly op: 'range';
      readonly revision?: number;
      readonly kvs: readonly RecordedKeyValue[];
      readonly more?: boolean;
      readonly count?: number;
    }
  | { readonly op: 'put'; readonly revision?: number; readonly prevKv?: RecordedKeyValue }
  | {
      readonly op: 'delete-range';
      readonly revision?: number;
      readonly deleted: number;
      readonly prevKvs?: readonly RecordedKeyValue[];
    }
  | {
      readonly op: 'txn';
      readonly revision?: number;
      readonly succeeded: boolean;
      /** Of the branch taken; absent = not recorded. */
      readonly responses?: readonly RecordedResponse[];
    }
  | { readonly op: 'compact'; readonly revision?: number };

/** `failed`: certainly not applied. `unknown`: perhaps applied, once, at any time after the call. */
export type RecordedResult =
  | { readonly outcome: 'ok'; readonly revision: number; readonly response: RecordedResponse }
  | { readonly outcome: 'failed' | 'unknown'; readonly code: string };

/**
 * One operation of a client, over all its attempts. All times of a history come from one monotonic clock; equal times count as
 * concurrent. A request that spans shards is recorded as one operation a shard.
 */
export interface RecordedOperation {
  readonly type: 'operation';
  /** Unique in the file. */
  readonly id: number;
  readonly client: string;
  /** A lane of the client that does one thing at a time; a lane of the timeline. */
  readonly process: string;
  /** Whose revisions the answer speaks of. */
  readonly shard: string;
  readonly call: number;
  /** When the client had its answer or gave up; absent = never. */
  readonly return?: number;
  readonly request: KvRequest;
  /** The exactly-once session it was sent under. */
  readonly session?: { readonly clientId: string; readonly seq: number };
  /** Who answered. */
  readonly member?: string;
  readonly result: RecordedResult;
}

/**
 * A watch was opened; with a stream id that is already known it resumes that stream at `request.startRevision`. What stands
 * between what was delivered and a later start must have been given up by a `compactRevision` of the end before.
 */
export interface RecordedWatch {
  readonly type: 'watch';
  readonly stream: string;
  readonly client: string;
  readonly shard: string;
  readonly at: number;
  readonly request: WatchRequest;
  /** The shard's revision in the `created` answer: without a start revision, the stream begins after it. */
  readonly created?: number;
}

export interface RecordedEvent {
  readonly type: 'put' | 'delete';
  /** `modRevision` is required here. */
  readonly kv: RecordedKeyValue & { readonly modRevision: number };
  readonly prevKv?: RecordedKeyValue;
}

/** What one delivery of a stream carried; a revision never spans two of them. */
export interface RecordedEvents {
  readonly type: 'events';
  readonly stream: string;
  readonly at: number;
  readonly events: readonly RecordedEvent[];
  /** Promise of the server: everything at or below has been delivered. Absent = up to the last event. */
  readonly through?: number;
}

/** A watch ended. */
export interface RecordedWatchEnd {
  readonly type: 'watch-end';
  readonly stream: string;
  readonly at: number;
  readonly code?: string;
  /** Given with the reason `compacted`: what stands at or below need not be delivered any more. */
  readonly compactRevision?: number;
}

/** A record of a shard's log as it stands at its offset, ignored ones too. In ascending order of offsets per shard. */
export interface RecordedLogRecord {
  readonly type: 'log';
  readonly shard: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Something a reader of the timeline wants to know: a fault, a heal. */
export interface RecordedNote {
  readonly type: 'note';
  readonly at: number;
  /** Absent = a moment. */
  readonly until?: number;
  readonly text: string;
}

export type HistoryLine =
  | RecordedOperation
  | RecordedWatch
  | RecordedEvents
  | RecordedWatchEnd
  | RecordedLogRecord
  | RecordedNote;

/** A whole history in memory: the lines of each type in the order of the file. */
export interface RecordedHistory {
  readonly header: HistoryHeader;
  readonly operations: readonly RecordedOperation[];
  /** Opens, deliveries and ends of all streams. */
  readonly watches: readonly (RecordedWatch | RecordedEvents | RecordedWatchEnd)[];
  readonly log: readonly RecordedLogRecord[];
  readonly notes: readonly RecordedNote[];
}

/** When an operation was over, or was asked when it never was: where a finding about it stands in time. */
export function whenOf(operation: RecordedOperation): { readonly at: number } {
  return { at: operation.return ?? operation.call };
}

/** Sorts lines by type. */
export function collectHistory(
  header: HistoryHeader,
  lines: Iterable<HistoryLine>,
): RecordedHistory {
  const operations: RecordedOperation[] = [];
  const watches: (RecordedWatch | RecordedEvents | RecordedWatchEnd)[] = [];
  const log: RecordedLogRecord[] = [];
  const notes: RecordedNote[] = [];
  for (const line of lines) {
    if (line.type === 'operation') operations.push(line);
    else if (line.type === 'log') log.push(line);
    else if (line.type === 'note') notes.push(line);
    else watches.push(line);
  }
  return { header, operations, watches, log, notes };
}
