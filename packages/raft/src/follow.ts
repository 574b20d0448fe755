import { logOffset } from '@kvorum/base';
import type { Core } from './core.ts';
import { emit, halt } from './core.ts';

/**
 * First read of a process: from the last accepted record on, so that a log rewritten meanwhile is
 * noticed.
 */
export function startFollowing(core: Core): void {
  const from = core.verifyingLast ? core.accepted.lastOffset : core.accepted.offset + 1;
  core.following = true;
  emit(core, { kind: 'follow-log', from: logOffset(from) });
}

/** Follows from the first offset not yet judged unless the log is being followed. */
export function ensureFollowing(core: Core): void {
  if (core.following || core.awaitingSnapshot !== undefined) return;
  core.following = true;
  emit(core, { kind: 'follow-log', from: logOffset(core.accepted.offset + 1) });
}

/**
 * A leader with nothing undecided needs no fetches: contiguous acknowledgements carry on from here.
 */
export function stopFollowingIfIdle(core: Core): void {
  const undecided = core.barrier !== undefined || core.proposal !== undefined;
  if (core.role !== 'leader' || undecided || !core.following || core.verifyingLast) return;
  core.following = false;
  emit(core, { kind: 'stop-following' });
}

/** Back after an outage the log may be another one: read the last accepted record once more. */
export function onLogReachable(core: Core, reachable: boolean): void {
  if (!reachable) {
    core.logUnreachableSinceMs ??= core.nowMs;
    return;
  }
  if (core.logUnreachableSinceMs === undefined) return;
  core.logUnreachableSinceMs = undefined;
  const { lastOffset } = core.accepted;
  if (core.following && lastOffset >= 0) emit(core, { kind: 'follow-log', from: lastOffset });
}

/**
 * The log does not hold the offset asked for, and does not start above it. An end below it proves loss and halts. A verification read
 * whose record was truncated on purpose goes on behind it.
 */
export function onLogOutOfRange(core: Core, end: number): void {
  const next = core.accepted.offset + 1;
  if (end < next) {
    halt(core, {
      reason: 'log-end-moved-back',
      detail: `the log ends at ${end}, below the next offset ${next}`,
      expected: `end >= ${next}`,
      found: `end = ${end}`,
    });
  } else if (core.following) {
    core.verifyingLast = false;
    emit(core, { kind: 'follow-log', from: logOffset(next) });
  }
}
