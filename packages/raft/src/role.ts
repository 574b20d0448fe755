import type { Term } from '@kvorum/base';
import { EMPTY_BYTES, logOffset } from '@kvorum/base';
import { ZERO_HASH } from './accepted-state.ts';
import type { Core } from './core.ts';
import { announce, emit, resetElectionTimer, setHardState } from './core.ts';
import { ensureFollowing } from './follow.ts';
import { failLeaderReads } from './read-index.ts';

/**
 * Steps down or stays down, raising the term when `term` is newer; no leader is known afterwards.
 */
export function becomeFollower(core: Core, term: Term): void {
  leaveRole(core, term);
  announce(core);
}

/** What every change of role but an advance begins with: nothing of the former one is left. */
export function leaveRole(core: Core, term: Term): void {
  if (term > core.hard.term) setHardState(core, { term, vote: undefined });
  core.role = 'follower';
  core.leader = undefined;
  core.leaderHeardMs = undefined;
  core.leaderSuspect = false;
  core.votes.clear();
  // The barrier may land yet; then it is accepted like anybody's, and nobody serves under it.
  core.barrier = undefined;
  failLeaderReads(core);
  resetElectionTimer(core);
  ensureFollowing(core);
}

/** Steps down and lets every other voter try first. */
export function becomePatientFollower(core: Core): void {
  becomeFollower(core, core.hard.term);
  core.electionAtMs += core.config.electionMsMax;
}

/** A majority voted for this replica; the log decides whether it may lead. */
export function becomeLeaderElect(core: Core): void {
  core.role = 'leader-elect';
  core.leader = undefined;
  core.heartbeatAtMs = core.nowMs;
  for (const peer of core.peers.values()) {
    peer.answeredMs = core.nowMs;
    peer.round = 0;
    peer.contradicts = false;
    peer.logReachable = false;
    peer.durableOffset = logOffset(-1);
    peer.pinOffset = undefined;
  }
  const { term } = core.hard;
  core.barrier = {
    record: { term, seq: 0, prevHash: ZERO_HASH, kind: 'barrier', payload: EMPTY_BYTES },
    openedMs: core.nowMs,
    phase: 'queued',
    sendAtMs: core.nowMs,
    attemptCount: 0,
    unknownSeen: false,
    landedOffset: undefined,
  };
  announce(core);
}

/** The own barrier is accepted: everything older is decided. */
export function becomeLeader(core: Core): void {
  core.barrier = undefined;
  core.votes.clear();
  core.role = 'leader';
  core.leader = core.config.self;
  announce(core);
  emit(core, { kind: 'leader-ready', index: core.accepted.index });
}
