import { logIndex, memberId, term, utf8 } from '@kvorum/base';
import type { RaftEffect, RaftMessage } from '@kvorum/raft';
import { expect, it } from 'vitest';
import {
  Cluster,
  ELECTION_MS_MAX,
  ELECTION_MS_MIN,
  HEARTBEAT_MS,
  membershipPayload,
  type SimMember,
} from './cluster.ts';

// Sentences of Diego Ongaro's thesis "Consensus: Bridging Theory and Practice" (2014), by section.

interface Stage {
  readonly cluster: Cluster;
  readonly effects: { readonly member: number; readonly effect: RaftEffect }[];
}

function stage(voters: number, learners = 0): Stage {
  const effects: Stage['effects'] = [];
  const cluster = new Cluster({
    voters,
    learners,
    random: (id, from, to) => from + Math.floor(((to - from) * (id - 1)) / (voters + learners)),
    onEffect: (member, effect) => effects.push({ member: member.id, effect }),
  });
  return { cluster, effects };
}

/** Writes, appends and reads of the log complete; messages stay where they are. */
function settle({ cluster }: Stage): void {
  for (const member of cluster.members.values()) {
    while (member.outbox.length > 0) cluster.persist(member);
    cluster.settle(member, 'appended', true);
    while (cluster.poll(member, 100));
  }
}

function exchange(on: Stage): void {
  for (let hop = 0; hop < 8; hop += 1) {
    settle(on);
    const messages = on.cluster.net;
    on.cluster.net = [];
    for (const envelope of messages) on.cluster.deliver(envelope);
  }
  settle(on);
}

function elect(on: Stage, id: number): SimMember {
  const member = on.cluster.member(id);
  on.cluster.nowMs += 2 * ELECTION_MS_MAX;
  on.cluster.tick(member);
  exchange(on);
  expect(member.raft.status().role).toBe('leader');
  return member;
}

function receive(
  on: Stage,
  to: number,
  from: number,
  message: RaftMessage,
): readonly RaftMessage[] {
  on.cluster.net = [];
  on.cluster.deliver({ from, to, message });
  while (on.cluster.member(to).outbox.length > 0) on.cluster.persist(on.cluster.member(to));
  return on.cluster.net.filter((envelope) => envelope.to === from).map((sent) => sent.message);
}

function voteRequest(
  on: Stage,
  of: number,
  fields: { term: number; pre?: boolean; transfer?: boolean },
): RaftMessage {
  const { index, chainHash } = on.cluster.member(of).raft.status().accepted;
  const { pre = false, transfer = false } = fields;
  return {
    kind: 'vote-request',
    pre,
    transfer,
    term: term(fields.term),
    history: { index, chainHash },
  };
}

function granted(answers: readonly RaftMessage[]): boolean | undefined {
  const [answer] = answers;
  return answer?.kind === 'vote-response' ? answer.granted : undefined;
}

it('§3.3: if a candidate or leader discovers that its term is out of date, it immediately reverts to follower', () => {
  const on = stage(3);
  const leader = elect(on, 1);
  receive(on, 1, 2, { kind: 'vote-response', pre: false, term: term(9), granted: false });
  expect(leader.raft.status()).toMatchObject({ role: 'follower', term: 9, leader: undefined });
});

it('§3.3: if a server receives a request with a stale term number, it rejects the request', () => {
  const on = stage(3);
  elect(on, 1);
  const stale = voteRequest(on, 3, { term: 1, transfer: true });
  expect(granted(receive(on, 2, 3, stale))).toBe(false);
  const history = { index: logIndex(0), chainHash: new Uint8Array(32) };
  const answers = receive(on, 2, 3, { kind: 'heartbeat', term: term(0), round: 1, history });
  expect(answers).toMatchObject([{ kind: 'heartbeat-response', term: 1 }]);
  expect(on.cluster.member(2).raft.status().leader).toBe(1n);
});

it('§3.4: each server will vote for at most one candidate in a given term, on a first-come-first-served basis', () => {
  const on = stage(3);
  expect(granted(receive(on, 3, 1, voteRequest(on, 1, { term: 1 })))).toBe(true);
  expect(granted(receive(on, 3, 2, voteRequest(on, 2, { term: 1 })))).toBe(false);
  expect(granted(receive(on, 3, 1, voteRequest(on, 1, { term: 1 })))).toBe(true);
});

it('§3.4: a candidate that hears a leader of at least its own term returns to follower state', () => {
  const on = stage(3);
  const candidate = on.cluster.member(1);
  on.cluster.nowMs = ELECTION_MS_MAX;
  on.cluster.tick(candidate);
  receive(on, 1, 2, { kind: 'vote-response', pre: true, term: term(1), granted: true });
  expect(candidate.raft.status()).toMatchObject({ role: 'candidate', term: 1 });
  const { index, chainHash } = candidate.raft.status().accepted;
  const history = { index, chainHash };
  receive(on, 1, 2, { kind: 'heartbeat', term: term(1), round: 1, history });
  expect(candidate.raft.status()).toMatchObject({ role: 'follower', term: 1, leader: 2n });
});

it('§3.4: election timeouts are chosen randomly from a fixed interval', () => {
  const asked: (readonly [number, number])[] = [];
  const random = (_id: number, from: number, to: number): number => {
    asked.push([from, to]);
    return to - 1;
  };
  const cluster = new Cluster({ voters: 1, learners: 0, random, onEffect: () => undefined });
  cluster.nowMs = ELECTION_MS_MAX - 2;
  cluster.tick(cluster.member(1));
  expect(cluster.member(1).raft.status().role).toBe('follower');
  cluster.nowMs = ELECTION_MS_MAX - 1;
  cluster.tick(cluster.member(1));
  expect(cluster.member(1).raft.status().role).toBe('candidate');
  expect(asked).toContainEqual([ELECTION_MS_MIN, ELECTION_MS_MAX]);
});

it('§3.8: each server persists its current term and vote before it answers a vote request', () => {
  const on = stage(3);
  const message = voteRequest(on, 1, { term: 1 });
  on.cluster.deliver({ from: 1, to: 3, message });
  expect(on.cluster.net).toEqual([]);
  on.cluster.crash(on.cluster.member(3));
  on.cluster.restart(on.cluster.member(3), { wipeVotes: false });
  expect(granted(receive(on, 3, 2, voteRequest(on, 2, { term: 1 })))).toBe(true);
  on.cluster.restart(on.cluster.member(3), { wipeVotes: false });
  expect(granted(receive(on, 3, 1, message))).toBe(false);
});

it('§3.10: the prior leader stops accepting new client requests, and TimeoutNow starts an election at once', () => {
  const on = stage(3);
  const leader = elect(on, 1);
  on.cluster.step(leader, { kind: 'transfer', target: memberId(2n) });
  expect(leader.raft.canPropose()).toBe(false);
  exchange(on);
  on.cluster.nowMs += HEARTBEAT_MS;
  for (const member of on.cluster.members.values()) on.cluster.tick(member);
  exchange(on);
  expect(on.cluster.member(2).raft.status()).toMatchObject({ role: 'leader', term: 2 });
  expect(on.effects).toContainEqual({
    member: 1,
    effect: { kind: 'transfer-settled', target: 2n, moved: true },
  });
});

it('§4.1: only one server can be added or removed from the cluster at a time', () => {
  const on = stage(3, 2);
  const leader = elect(on, 1);
  const change = (voters: readonly number[]): void => {
    const payload = membershipPayload(voters, []);
    on.cluster.step(leader, { kind: 'propose', record: 'config', payload });
  };
  expect(() => change([1, 2, 3, 4, 5])).toThrow('one voter may change at a time, not 2');
  expect(() => change([1, 2, 4])).toThrow('one voter may change at a time, not 2');
  change([1, 2, 3, 4]);
  expect(leader.raft.canPropose()).toBe(false);
});

it('§4.2.1: a new server joins as a non-voting member that does not count toward majorities', () => {
  const on = stage(2, 1);
  const leader = elect(on, 1);
  on.cluster.step(leader, { kind: 'read', readId: 1 });
  const beats = on.cluster.net;
  on.cluster.net = [];
  for (const envelope of beats) if (envelope.to === 3) on.cluster.deliver(envelope);
  exchange(on);
  const ready = { member: 1, effect: { kind: 'read-ready', readId: 1, index: logIndex(1) } };
  expect(on.effects).not.toContainEqual(ready);
  for (const envelope of beats) if (envelope.to === 2) on.cluster.deliver(envelope);
  exchange(on);
  expect(on.effects).toContainEqual(ready);
  expect(granted(receive(on, 3, 2, voteRequest(on, 2, { term: 9, transfer: true })))).toBe(
    undefined,
  );
});

it('§4.2.3: a vote request within the minimum election timeout of hearing a leader neither updates the term nor gets the vote', () => {
  const on = stage(3);
  elect(on, 1);
  on.cluster.nowMs += ELECTION_MS_MIN - 1;
  expect(granted(receive(on, 2, 3, voteRequest(on, 3, { term: 7 })))).toBe(false);
  expect(on.cluster.member(2).raft.status().term).toBe(1);
  on.cluster.nowMs += 1;
  expect(granted(receive(on, 2, 3, voteRequest(on, 3, { term: 7 })))).toBe(true);
});

it('§4.2.3: leadership transfer is exempt from that check', () => {
  const on = stage(3);
  elect(on, 1);
  const request = voteRequest(on, 3, { term: 2, transfer: true });
  expect(granted(receive(on, 2, 3, request))).toBe(true);
});

it('§6.2: a leader steps down if an election timeout elapses without a round of heartbeats to a majority', () => {
  const on = stage(3);
  const leader = elect(on, 1);
  on.cluster.nowMs += ELECTION_MS_MAX - 1;
  on.cluster.tick(leader);
  expect(leader.raft.status().role).toBe('leader');
  on.cluster.nowMs += 1;
  on.cluster.tick(leader);
  expect(leader.raft.status().role).toBe('follower');
});

it('§6.4: a leader that has not yet committed an entry of its term serves no read-only request', () => {
  const on = stage(1);
  const leader = on.cluster.member(1);
  on.cluster.nowMs = ELECTION_MS_MAX;
  on.cluster.tick(leader);
  on.cluster.persist(leader);
  expect(leader.raft.status().role).toBe('leader-elect');
  on.cluster.step(leader, { kind: 'read', readId: 1 });
  const ready = { member: 1, effect: { kind: 'read-ready', readId: 1, index: logIndex(1) } };
  expect(on.effects).not.toContainEqual(ready);
  settle(on);
  expect(on.effects).toContainEqual(ready);
});

it('§6.4: the leader amortizes one round of heartbeats over any number of read-only queries', () => {
  const on = stage(3);
  const leader = elect(on, 1);
  for (let readId = 1; readId <= 50; readId += 1) on.cluster.step(leader, { kind: 'read', readId });
  exchange(on);
  const ready = on.effects.filter(({ effect }) => effect.kind === 'read-ready');
  expect(ready.length).toBe(50);
  expect(leader.raft.status().readRoundCount).toBe(2);
});

it('§6.4: a follower asks the leader for a current read index', () => {
  const on = stage(3);
  const leader = elect(on, 1);
  on.cluster.step(leader, { kind: 'propose', record: 'batch', payload: utf8('a') });
  settle(on);
  on.cluster.step(on.cluster.member(3), { kind: 'read', readId: 5 });
  exchange(on);
  expect(on.effects).toContainEqual({
    member: 3,
    effect: { kind: 'read-ready', readId: 5, index: logIndex(2) },
  });
});

it('§9.6: a candidate only increments its term if it first learns that a majority would vote for it', () => {
  const on = stage(3);
  const member = on.cluster.member(1);
  for (let round = 0; round < 5; round += 1) {
    on.cluster.nowMs += ELECTION_MS_MAX;
    on.cluster.tick(member);
    on.cluster.net = [];
  }
  expect(member.raft.status()).toMatchObject({ role: 'pre-candidate', term: 0 });
});
