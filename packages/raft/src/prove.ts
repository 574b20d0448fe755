import type { LogIndex } from '@kvorum/base';
import { logIndex } from '@kvorum/base';
import type { Core } from './core.ts';
import { emit, send } from './core.ts';
import type { RaftEffect } from './effect.ts';
import type { RaftMessage } from './message.ts';

export type AcceptEffect = Extract<RaftEffect, { kind: 'accept' }>;

/**
 * A record stands in the log, and its fate is decided, before the leader that appended it knows: the acknowledgement is still under
 * way. A replica that showed it then would let a client see a write that a linearizable read at the leader, started afterwards,
 * does not show yet. So an accepted record is handed on for applying only once one of these proves that no later read can miss it:
 *
 * - it is this process's own: its acceptance here is its leader's acceptance;
 * - it is a barrier: its leader had a majority's votes before it was appended, so no earlier leader can confirm a read any more,
 *   and its own reads begin behind it. That covers every record before it as well;
 * - another record is accepted behind it: the same leader sends the next one only after it has judged this one, another leader
 *   begins with a barrier;
 * - its leader says so: `heartbeat`, `accepted` and `read-index-response` carry the leader's accepted index.
 *
 * Invariant: only the last accepted record can wait for proof.
 * Source: docs/adr/0010-followers-show-what-the-leader-knows.md.
 */
export function handOn(core: Core, accept: AcceptEffect, provenByItself: boolean): void {
  release(core);
  core.held = accept;
  if (provenByItself) prove(core, accept.state.index);
  else if (accept.state.index <= core.provenIndex) release(core);
}

/** No later linearizable read can miss anything up to `index`, here or elsewhere. */
export function prove(core: Core, index: LogIndex): void {
  core.provenIndex = logIndex(Math.max(core.provenIndex, index));
  if (core.held !== undefined && core.held.state.index <= core.provenIndex) release(core);
}

function release(core: Core): void {
  const { held } = core;
  core.held = undefined;
  if (held !== undefined) emit(core, held);
}

/**
 * Tells the followers that somebody watches what this leader has accepted since they last heard its index; called at the end of
 * every step. Without it a watch on a follower would wait for the next record or beat.
 */
export function tellEagerPeers(core: Core): void {
  const { index } = core.accepted;
  if (core.role !== 'leader' || core.toldIndex >= index) return;
  core.toldIndex = index;
  const accepted: RaftMessage = { kind: 'accepted', term: core.hard.term, index };
  for (const [id, peer] of core.peers) if (peer.eager) send(core, id, accepted);
}
