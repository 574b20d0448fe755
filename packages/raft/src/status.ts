import type { LogIndex, LogOffset, MemberId, Term } from '@kvorum/base';
import type { Core } from './core.ts';
import type { HaltReport, Role } from './effect.ts';
import type { AcceptedState } from './input.ts';

export interface PeerStatus {
  readonly id: MemberId;
  readonly reachable: boolean;
  readonly index: LogIndex;
  readonly lastHeardMs: number | undefined;
  readonly logReachable: boolean;
  /** Synced on its disk as it reported to this leader; -1 = not reported. */
  readonly durableOffset: LogOffset;
  /** A snapshot is leaving it that needs the log behind this offset. */
  readonly pinOffset: LogOffset | undefined;
}

export interface RaftStatus {
  readonly role: Role;
  readonly term: Term;
  /** Who leads, as far as this replica knows; itself only once `leader`. */
  readonly leader: MemberId | undefined;
  readonly accepted: AcceptedState;
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
  /** Index of the `config` record that set them; 0 = none yet. */
  readonly configIndex: LogIndex;
  /** Index and log reachability of the others are known to a leader only. */
  readonly peers: readonly PeerStatus[];
  readonly halted: HaltReport | undefined;
  /** Whether the shared log answers this replica. */
  readonly logReachable: boolean;
  readonly proposalOpen: boolean;
  /** Where the log starts, above what this replica needs next: it waits for a snapshot. */
  readonly awaitingSnapshot: LogOffset | undefined;
  /** Everything up to here is applied and synced on this replica's disk; -1 = not known yet. */
  readonly durableOffset: LogOffset;
  /** A snapshot is leaving here that needs the log behind this offset. */
  readonly pinOffset: LogOffset | undefined;
  readonly transferTarget: MemberId | undefined;
  readonly fencedCount: number;
  readonly readRoundCount: number;
  readonly leaderChangeCount: number;
}

export function statusOf(core: Core): RaftStatus {
  const peers: PeerStatus[] = [];
  for (const [id, peer] of core.peers) {
    peers.push({
      id,
      reachable: peer.reachable,
      index: peer.index,
      lastHeardMs: peer.lastHeardMs,
      logReachable: peer.logReachable,
      durableOffset: peer.durableOffset,
      pinOffset: peer.pinOffset,
    });
  }
  return {
    role: core.role,
    term: core.hard.term,
    leader: core.leader,
    accepted: core.accepted,
    voters: core.voters,
    learners: core.learners,
    configIndex: core.configIndex,
    peers,
    halted: core.halted,
    logReachable: core.logUnreachableSinceMs === undefined,
    proposalOpen: core.proposal !== undefined,
    awaitingSnapshot: core.awaitingSnapshot,
    durableOffset: core.durableOffset,
    pinOffset: core.pinOffset,
    transferTarget: core.transfer?.target,
    fencedCount: core.fencedCount,
    readRoundCount: core.readRoundCount,
    leaderChangeCount: core.leaderChangeCount,
  };
}
