import type { MemberId, Term } from '@kvorum/base';
import type { Core } from './core.ts';
import type { RaftInput } from './input.ts';

/**
 * What a halted replica still does: it listens who leads, so that its member can send clients there. It answers nobody, votes for
 * nobody and judges nothing.
 */
export function stepHalted(core: Core, input: RaftInput): void {
  switch (input.kind) {
    case 'message': {
      const { message } = input;
      if (message.kind !== 'heartbeat' || message.term < core.announced.term) return;
      core.leaderHeardMs = core.nowMs;
      noteLeader(core, input.from, message.term);
      return;
    }
    case 'peer-reachability':
      if (!input.reachable && core.leader === input.peer) forgetLeader(core);
      return;
    case 'tick': {
      const silentSinceMs = core.leaderHeardMs ?? core.nowMs;
      if (core.nowMs - silentSinceMs >= core.config.electionMsMax) forgetLeader(core);
      return;
    }
    default:
  }
}

function forgetLeader(core: Core): void {
  core.leaderHeardMs = undefined;
  noteLeader(core, undefined, core.announced.term);
}

function noteLeader(core: Core, leader: MemberId | undefined, term: Term): void {
  core.leader = leader;
  const { announced } = core;
  if (announced.leader === leader && announced.term === term) return;
  core.announced = { role: 'follower', term, leader };
  // Past `emit`, which lets a halted replica say nothing else.
  core.effects.push({ kind: 'role-changed', role: 'follower', term, leader });
}
