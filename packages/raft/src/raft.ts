import type { LeaderId, LogIndex, LogOffset, MemberId, Term } from '@kvorum/base';
import type { HaltReport, Role } from './effect.ts';
import type { AcceptedState } from "./input.ts";

export interface RaftConfig {
  readonly self: MemberId;
  /** Identity of this process as a leader: fresh at every start. */
  readonly leaderId: LeaderId;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
  readonly heartbeatMs: number;
  readonly electionMsMin: number;
  readonly electionMsMax: number;
  /** Delay before the first campaign after a start; short for the preferred leader. Pre-vote makes it harmless. */
  readonly firstElectionMs: number;
  /** Uniform integer in [fromInclusive, toExclusive). */
  readonly random: (fromInclusive: number, toExclusive: number) => number;
  /** chainHash' = chain(chainHash, digest of the accepted record). */
  readonly chain: (chainHash: Uint8Array, digest: Uint8Array) => Uint8Array;
}

export interface PeerStatus {
  readonly id: MemberId;
  readonly reachable: boolean;
  readonly index: LogIndex;
  readonly durableOffset: LogOffset;
  readonly lastHeardMs: number | undefined;
  readonly logReachable: boolean;
}

export interface RaftStatus {
  readonly role: Role;
  readonly term: Term;
  /** Who leads, as far as this replica knows; itself only once `leader`. */
  readonly leader: MemberId | undefined;
  readonly accepted: AcceptedState;
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
  readonly peers: readonly PeerStatus[];
  readonly halted: HaltReport | undefined;
  readonly proposalOpen: boolean;
  readonly transferTarget: MemberId | undefined;
  readonly fencedCount: number;
  readonly readRoundCount: number;
  readonly leaderChangeCount: number;
}
