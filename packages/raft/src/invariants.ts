import { assert, equalBytes } from '@kvorum/base';
import type { Core } from './core.ts';
import { isVoter, lacksHistory } from './core.ts';

/**
 * Throws InvariantError when the state of a replica contradicts itself. Tests and simulations call
 * it (through
 * `Raft.checkInvariants`) after every step, production now and then.
 */
export function checkInvariants(core: Core): void {
  if (core.halted !== undefined) {
    assert(core.role === 'follower', 'a halted replica holds no role');
    return;
  }
  if (lacksHistory(core))
    assert(core.role === 'follower', 'a replica without the history holds a role');
  if (core.awaitingSnapshot !== undefined) {
    assert(core.role === 'follower', 'a replica that waits for a snapshot holds no role');
    assert(!core.following, 'a replica that waits for a snapshot follows the log');
  }
  checkAccepted(core);
  checkRole(core);
  checkOpenAppends(core);
  checkReads(core);
}

function checkAccepted(core: Core): void {
  const { accepted, ring } = core;
  assert(accepted.lastOffset <= accepted.offset, 'last accepted offset lies above the judged one');
  assert(accepted.term <= core.hard.term, 'the log shows a higher term than the hard state');
  assert((accepted.leaderId === '') === (accepted.term === 0), 'term without a leader id');
  const latest = ring.at(accepted.index);
  assert(latest !== undefined, 'the history ring misses the latest index');
  assert(equalBytes(latest, accepted.chainHash), 'the history ring differs from the state');
  const { held, provenIndex } = core;
  const waits = held === undefined || held.state.index === accepted.index;
  assert(waits, 'only the last accepted record can wait for proof');
  assert((held === undefined) === accepted.index <= provenIndex, 'held without cause');
}

function checkRole(core: Core): void {
  const { accepted, config, hard, role } = core;
  if (role === 'leader') {
    assert(accepted.term === hard.term, 'a leader serves without its barrier accepted');
    assert(accepted.leaderId === config.leaderId, 'a leader serves under another barrier');
    assert(core.leader === config.self, 'a leader does not know that it leads');
  } else {
    assert(core.leader !== config.self, 'a replica names itself leader without leading');
    const reads = core.following || core.awaitingSnapshot !== undefined;
    assert(reads, 'only a leader may leave the log unread');
  }
  if (role !== 'follower') assert(isVoter(core, config.self), `${role} without a vote`);
  assert((role === 'leader-elect') === (core.barrier !== undefined), 'barrier without its role');
  if (role === 'candidate' || role === 'leader-elect') {
    assert(hard.vote === config.self, `${role} without its own vote`);
    assert(accepted.term < hard.term, `${role} of a term that the log has decided`);
  }
}

function checkOpenAppends(core: Core): void {
  const { accepted, barrier, proposal } = core;
  for (const open of [barrier, proposal]) {
    if (open === undefined) continue;
    assert((open.phase === 'sent') === (core.inFlight === open), 'phase and append in flight');
    assert((open.phase === 'landed') === (open.landedOffset !== undefined), 'landed where?');
  }
  if (proposal !== undefined) {
    assert(proposal.record.term === accepted.term, 'a proposal outlived a newer barrier');
    assert(proposal.record.seq === accepted.seq + 1, 'the open proposal is not the next record');
    assert(equalBytes(proposal.record.prevHash, accepted.chainHash), 'proposal on another history');
    assert(core.role !== 'leader' || proposal.record.term === core.hard.term, 'old proposal');
  }
}

function checkReads(core: Core): void {
  if (core.role !== 'leader') assert(core.readRound === undefined, 'a read round without a leader');
  if (core.readRound !== undefined) {
    assert(core.readRound.round <= core.round, 'a read round from the future');
    assert(core.readRound.reads.length > 0, 'a read round for nobody');
  }
}
