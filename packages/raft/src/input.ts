import type { LeaderId, LogIndex, LogOffset, MemberId, Term } from '@kvorum/base';
import type { RaftMessage } from './message.ts';

export type RecordKind = 'barrier' | 'batch' | 'config' | 'genesis';

/** A decoded record with its place; `digest` = SHA-256 of the record's bytes. */
export interface ReadRecord {
  readonly offset: LogOffset;
  readonly digest: Uint8Array;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  readonly term: Term;
  readonly leaderId: LeaderId;
  readonly seq: number;
  readonly prevHash: Uint8Array;
  readonly kind: RecordKind;
  readonly payload: Uint8Array;
}

/** A record that does not decode: an unknown version or damage. Halts the shard, never skipped. */
export interface UnreadableRecord {
  readonly offset: LogOffset;
  readonly unreadable: 'unknown-version' | 'malformed';
}

export type AppendSettled =
  | { readonly kind: 'appended'; readonly offset: LogOffset }
  | { readonly kind: 'absent'; readonly oversize: boolean }
  | { readonly kind: 'unknown' };

/** Everything that can happen to the core. Time comes with each step. */
export type RaftInput =
  | { readonly kind: 'tick' }
  | { readonly kind: 'message'; readonly from: MemberId; readonly message: RaftMessage }
  /** The synced write asked for by a `persist-hard-state` effect is done. */
  | {
      readonly kind: 'hard-state-persisted';
      readonly term: Term;
      readonly vote: MemberId | undefined;
    }
  /** Next records of the log in offset order while following; may repeat offsets already seen. */
  | {
      readonly kind: 'records';
      readonly records: readonly (ReadRecord | UnreadableRecord)[];
      /** One past the last offset covered by this read; holes below it hold nothing. */
      readonly nextOffset: LogOffset;
    }
  | { readonly kind: 'log-out-of-range'; readonly start: LogOffset; readonly end: LogOffset }
  | { readonly kind: 'log-reachable'; readonly reachable: boolean }
  /** The answer to the latest `append` effect, with the digest of the bytes sent. */
  | {
      readonly kind: 'append-settled';
      readonly outcome: AppendSettled;
      readonly digest: Uint8Array;
    }
  /** A sealed batch (or config change). Only while `canPropose()`. */
  | { readonly kind: 'propose'; readonly record: 'batch' | 'config'; readonly payload: Uint8Array }
  /** A linearizable read wants an index. Ids are the caller's, unique per process. */
  | { readonly kind: 'read'; readonly readId: number }
  | { readonly kind: 'transfer'; readonly target: MemberId }
  | { readonly kind: 'peer-reachability'; readonly peer: MemberId; readonly reachable: boolean }
  /** Whether somebody watches this replica; then the leader is asked to tell it of every acceptance at once. */
  | { readonly kind: 'eager'; readonly eager: boolean }
  /** Everything up to `offset` is applied and synced here; a snapshot that leaves here needs the log behind `pin`. */
  | { readonly kind: 'durable'; readonly offset: LogOffset; readonly pin: LogOffset | undefined }
  /** An operator wants this replica to begin anew from a peer's snapshot. */
  | { readonly kind: 'await-snapshot' }
  /** Apply or decode failed in the shell: stop the shard. */
  | { readonly kind: 'halt'; readonly reason: string; readonly detail: string };

/**
 * The state that travels in one store batch with what it admits (store key `m`), plus the vote
 * (store key `h`).
 */
export interface AcceptedState {
  /**
   * Generation of the log that this state was read from. Below the replica's own: it has not accepted the genesis of that one yet,
   * and offsets begin anew.
   */
  readonly generation: number;
  /** Last offset the filter has judged, accepted or not. -1 = none. */
  readonly offset: LogOffset;
  readonly index: LogIndex;
  readonly term: Term;
  /** Empty before the first barrier. */
  readonly leaderId: LeaderId | '';
  readonly seq: number;
  readonly chainHash: Uint8Array;
  /**
   * Offset and digest of the last ACCEPTED record: re-reading it proves the log is the same one. -1
   * and empty = none.
   */
  readonly lastOffset: LogOffset;
  readonly lastDigest: Uint8Array;
}

export interface HardState {
  readonly term: Term;
  readonly vote: MemberId | undefined;
}
