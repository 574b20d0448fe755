import type { LogIndex, LogOffset, Term } from '@kvorum/base';

/**
 * Where a replica's accepted history stands; two replicas that differ at one index prove a
 * rewritten log.
 */
export interface HistoryPoint {
  readonly index: LogIndex;
  readonly chainHash: Uint8Array;
}

/** Messages between the replicas of one shard. They may be lost, doubled and reordered. */
export type RaftMessage =
  | {
      readonly kind: 'vote-request';
      readonly pre: boolean;
      /** The term asked for; for a pre-vote the term the sender would use. */
      readonly term: Term;
      /** The leader hands over on purpose: skip the loyalty check. */
      readonly transfer: boolean;
      readonly history: HistoryPoint;
    }
  | {
      readonly kind: 'vote-response';
      readonly pre: boolean;
      /** The asked term when granted, else the responder's term. */
      readonly term: Term;
      readonly granted: boolean;
    }
  | {
      readonly kind: 'heartbeat';
      readonly term: Term;
      /**
       * Strictly increasing within a leader's term; never reused, also not for a repeated round.
       */
      readonly round: number;
      readonly history: HistoryPoint;
    }
  | {
      readonly kind: 'heartbeat-response';
      readonly term: Term;
      readonly round: number;
      readonly index: LogIndex;
      /** Everything up to here is applied and synced at the responder; -1 = not reported. */
      readonly durableOffset: LogOffset;
      /** A snapshot is leaving the responder: the log behind this offset is still needed. */
      readonly pinOffset: LogOffset | undefined;
      /** Whether the responder can reach the shared log. */
      readonly logReachable: boolean;
      /** The responder's history differs at the heartbeat's point. */
      readonly contradicts: boolean;
      /** Somebody watches the responder: it wants an `accepted` for every record at once. */
      readonly eager: boolean;
    }
  /** The sender leads and has accepted everything up to `index`. No answer. */
  | { readonly kind: 'accepted'; readonly term: Term; readonly index: LogIndex }
  | { readonly kind: 'timeout-now'; readonly term: Term }
  | { readonly kind: 'read-index-request'; readonly term: Term; readonly requestId: number }
  | {
      readonly kind: 'read-index-response';
      readonly term: Term;
      readonly requestId: number;
      /** Undefined: the receiver does not lead. */
      readonly index: LogIndex | undefined;
    };
