import type { LogIndex, LogOffset, MemberId, Term } from '@kvorum/base';
import type { HaltReason } from './halt-reason.ts';
import type { AcceptedState, RecordKind } from './input.ts';
import type { RaftMessage } from './message.ts';

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader-elect' | 'leader';

/** Proof that the log and this replica contradict each other, for the operator. */
export interface HaltReport {
  readonly reason: HaltReason;
  readonly detail: string;
  readonly offset: LogOffset;
  readonly index: LogIndex;
  readonly expected: string;
  readonly found: string;
}

/** Why an ignored record was ignored. */
export type FencedReason = 'old-term' | 'other-leader' | 'duplicate' | 'stale-barrier';

/**
 * What the shell must do, in this order. `after: 'persist'` = not before every earlier `persist-
 * hard-state` is synced.
 */
export type RaftEffect =
  | {
      readonly kind: 'persist-hard-state';
      readonly term: Term;
      readonly vote: MemberId | undefined;
    }
  | {
      readonly kind: 'send';
      readonly to: MemberId;
      readonly message: RaftMessage;
      readonly after: 'now' | 'persist';
    }
  /**
   * Append one record; answer with `append-settled`. `again` = send the very same bytes once more.
   */
  | {
      readonly kind: 'append';
      readonly again: boolean;
      readonly record: {
        readonly term: Term;
        readonly seq: number;
        readonly prevHash: Uint8Array;
        readonly kind: RecordKind;
        readonly payload: Uint8Array;
      };
    }
  /** Read the log from `from` on, without end, feeding `records`; replaces an earlier follow. */
  | { readonly kind: 'follow-log'; readonly from: LogOffset }
  | { readonly kind: 'stop-following' }
  /** The log starts above what this replica needs next: install a snapshot and begin anew on it. */
  | { readonly kind: 'snapshot-needed'; readonly start: LogOffset }
  /** A record joined the accepted history: apply it; `state` goes into the same store batch. */
  | {
      readonly kind: 'accept';
      readonly record: {
        readonly kind: RecordKind;
        readonly payload: Uint8Array;
        readonly term: Term;
      };
      readonly state: AcceptedState;
      /** It is the open proposal of this very process. */
      readonly own: boolean;
    }
  | { readonly kind: 'fenced'; readonly offset: LogOffset; readonly reason: FencedReason }
  /**
   * Verdict on the open proposal. `accepted` comes after its `accept`. `absent`: certainly never in
   * the log.
   * `oversize`: absent, and sending it again is pointless.
   */
  | { readonly kind: 'proposal'; readonly verdict: 'accepted' | 'absent' | 'oversize' }
  | { readonly kind: 'read-ready'; readonly readId: number; readonly index: LogIndex }
  /** `no-leader`: ask again later. */
  | { readonly kind: 'read-failed'; readonly readId: number }
  | {
      readonly kind: 'role-changed';
      readonly role: Role;
      readonly term: Term;
      readonly leader: MemberId | undefined;
    }
  /**
   * The own barrier is accepted: commands may be executed once everything up to `index` is applied.
   */
  | { readonly kind: 'leader-ready'; readonly index: LogIndex }
  | { readonly kind: 'transfer-settled'; readonly target: MemberId; readonly moved: boolean }
  | { readonly kind: 'halted'; readonly report: HaltReport };
