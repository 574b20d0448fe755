import type { MemberId } from '@kvorum/base';
import type { Core, Transfer } from './core.ts';
import { emit, isLeading, isVoter, lacksHistory, send } from './core.ts';
import { campaign } from './election.ts';
import { broadcastHeartbeat } from './heartbeat.ts';

/** An operator (or the placement) wants `target` to lead. Settled by `transfer-settled`. */
export function onTransfer(core: Core, target: MemberId): void {
  const possible =
    core.role === 'leader' &&
    core.transfer === undefined &&
    target !== core.config.self &&
    isVoter(core, target);
  if (!possible) {
    emit(core, { kind: 'transfer-settled', target, moved: false });
    return;
  }
  core.transfer = { target, startedMs: core.nowMs, sent: false };
  // Learn the target's index now instead of at the next beat.
  core.round += 1;
  broadcastHeartbeat(core, core.round);
}

/** Drives an open transfer; called at the end of every step. */
export function pumpTransfer(core: Core): void {
  const { transfer } = core;
  if (transfer === undefined) return;
  const { target } = transfer;
  if (!isLeading(core) && core.leader !== undefined) {
    core.transfer = undefined;
    emit(core, { kind: 'transfer-settled', target, moved: core.leader === target });
  } else if (isOver(core, transfer)) {
    core.transfer = undefined;
    emit(core, { kind: 'transfer-settled', target, moved: false });
  } else if (core.role === 'leader' && !transfer.sent && isReadyFor(core, target)) {
    transfer.sent = true;
    send(core, target, { kind: 'timeout-now', term: core.hard.term });
  }
}

/** It took too long, or a `config` record that was in flight when it began took the target out. */
function isOver(core: Core, { startedMs, target }: Transfer): boolean {
  return core.nowMs - startedMs >= core.config.electionMsMax || !isVoter(core, target);
}

function isReadyFor(core: Core, target: MemberId): boolean {
  const idle = core.proposal === undefined && core.inFlight === undefined;
  return idle && (core.peers.get(target)?.index ?? 0) >= core.accepted.index;
}

export function onTimeoutNow(core: Core): void {
  const knowsLog = !core.verifyingLast && !lacksHistory(core);
  const mayLead = isVoter(core, core.config.self) && knowsLog;
  if (core.role === 'follower' && mayLead) campaign(core, true);
}

/**
 * A leader that cannot reach the log hands over to a voter that can; a leader-elect that is far
 * from its barrier to a voter that
 * has read more. In an outage for everybody nobody reaches the log, so nothing moves.
 */
export function handOverIfStuck(core: Core): void {
  const { electionMsMax } = core.config;
  if (!isLeading(core) || core.transfer !== undefined || core.nowMs < core.handOverAtMs) return;
  const since = core.logUnreachableSinceMs;
  const cutOff = since !== undefined && core.nowMs - since > electionMsMax;
  const { barrier } = core;
  const slow = barrier !== undefined && core.nowMs - barrier.openedMs > electionMsMax;
  if (!cutOff && !slow) return;
  const target = bestVoter(core, cutOff ? -1 : core.accepted.index);
  if (target === undefined) return;
  core.handOverAtMs = core.nowMs + electionMsMax;
  send(core, target, { kind: 'timeout-now', term: core.hard.term });
}

/** The voter with the highest index above `aboveIndex` that reaches the log and answered lately. */
function bestVoter(core: Core, aboveIndex: number): MemberId | undefined {
  let best: MemberId | undefined;
  let bestIndex = aboveIndex;
  for (const id of core.voters) {
    const peer = core.peers.get(id);
    if (peer === undefined || !peer.logReachable || peer.index <= bestIndex) continue;
    if (core.nowMs - peer.answeredMs > core.config.electionMsMin) continue;
    best = id;
    bestIndex = peer.index;
  }
  return best;
}
