import type { LogOffset } from '@kvorum/base';
import { logOffset } from '@kvorum/base';
import type { Core } from './core.ts';
import { emit } from './core.ts';
import { becomeFollower } from './role.ts';

/**
 * The log no longer holds what comes next for this replica: only a peer's snapshot helps. From here on it follows no log, votes for
 * nobody and does not campaign, whatever it hears; it only acknowledges who leads. A new `Raft` on the installed store ends this state.
 *
 * @param start - where the log starts, as far as is known.
 */
export function awaitSnapshot(core: Core, start: number): void {
  if (core.awaitingSnapshot !== undefined) return;
  core.awaitingSnapshot = logOffset(start);
  // What was proposed stands in the log or not: this replica will not see it. The shell answers that its outcome is unknown.
  core.proposal = undefined;
  core.held = undefined;
  core.provenIndex = core.accepted.index;
  becomeFollower(core, core.hard.term);
  core.following = false;
  emit(core, { kind: 'stop-following' });
  emit(core, { kind: 'snapshot-needed', start: logOffset(start) });
}

/** The log starts above what this replica needs next. The shell halts it when nobody has what is missing. */
export function isPassedBy(core: Core, start: number): boolean {
  return start > core.accepted.offset + 1;
}

/** What this replica's disk is known to hold, and what a transfer of a snapshot from here still needs of the log. */
export function onDurable(core: Core, offset: LogOffset, pin: LogOffset | undefined): void {
  core.durableOffset = offset;
  core.pinOffset = pin;
}
