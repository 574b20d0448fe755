import { assert, toHex, utf8 } from '@kvorum/base';
import type { RaftEffect } from '@kvorum/raft';
import { expect, it } from 'vitest';
import { Cluster, membershipPayload, payloadText, type SimMember } from './cluster.ts';

const SCHEDULE_COUNT = Number(process.env['KV_RAFT_SCHEDULES'] ?? 200);
const FIRST_SEED = Number(process.env['KV_RAFT_SEED'] ?? 1);
const STEPS = 1500;

type Random = (fromInclusive: number, toExclusive: number) => number;

/** mulberry32: small, seeded, good enough to shuffle schedules. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  return (from, to) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return from + (((mixed ^ (mixed >>> 14)) >>> 0) % (to - from));
  };
}

interface Proposal {
  readonly owner: number;
  readonly boot: number;
  verdict: 'accepted' | 'absent' | 'oversize' | undefined;
}

/** Watches every effect of every member and compares them with what clients were told. */
class Checker {
  readonly history: { readonly chain: string; readonly text: string }[] = [];
  readonly proposals = new Map<string, Proposal>();
  readonly acceptedAt = new Map<string, number>();
  readonly reads = new Map<number, number>();
  /** Highest index of a proposal that a client was told is accepted. */
  ackedIndex = 0;
  readCount = 0;
  readonly #readsChecked: boolean;

  constructor(readsChecked: boolean) {
    this.#readsChecked = readsChecked;
  }

  onEffect(member: SimMember, effect: RaftEffect): void {
    switch (effect.kind) {
      case 'accept':
        this.#onAccept(effect);
        return;
      case 'proposal':
        this.#onVerdict(member, effect.verdict);
        return;
      case 'read-ready': {
        this.readCount += 1;
        const least = this.reads.get(effect.readId) ?? 0;
        if (this.#readsChecked) expect(effect.index).toBeGreaterThanOrEqual(least);
        this.reads.delete(effect.readId);
        return;
      }
      case 'halted':
        expect.unreachable(`member ${member.id} halted: ${JSON.stringify(effect.report)}`);
        return;
      default:
        return;
    }
  }

  #onAccept(effect: Extract<RaftEffect, { kind: 'accept' }>): void {
    const { record, state } = effect;
    const text = `${record.kind} ${payloadText(record.payload)}`;
    const chain = toHex(state.chainHash);
    const known = this.history[state.index - 1];
    if (known !== undefined) {
      expect({ chain, text }).toEqual(known);
      return;
    }
    expect(state.index).toBe(this.history.length + 1);
    this.history.push({ chain, text });
    if (record.kind !== 'batch') return;
    const name = payloadText(record.payload);
    expect(this.acceptedAt.has(name), `${name} accepted twice`).toBe(false);
    this.acceptedAt.set(name, state.index);
    expect(this.proposals.get(name)?.verdict, name).not.toBe('absent');
  }

  #onVerdict(member: SimMember, verdict: 'accepted' | 'absent' | 'oversize'): void {
    const open = [...this.proposals].find(
      ([, { owner, boot, verdict: known }]) =>
        owner === member.id && boot === member.bootCount && known === undefined,
    );
    assert(open !== undefined, 'a verdict without a proposal');
    const [name, proposal] = open;
    proposal.verdict = verdict;
    // Its bytes do not name it.
    if (name.startsWith('change')) return;
    const index = this.acceptedAt.get(name);
    if (verdict === 'accepted') {
      assert(index !== undefined, `${name} acknowledged, not accepted`);
      this.ackedIndex = Math.max(this.ackedIndex, index);
    } else {
      expect(index, `${name} called absent, yet accepted`).toBe(undefined);
    }
  }
}

/** What a schedule holds beyond what all of them do. */
interface Kind {
  /** Members lose their votes. */
  readonly wipes: boolean;
  /** Voters and learners come and go. */
  readonly changes: boolean;
}

interface Schedule extends Kind {
  readonly cluster: Cluster;
  readonly checker: Checker;
  readonly random: Random;
  changeCount: number;
  nameCount: number;
  /** Messages from and to this member wait. */
  cutOff: number | undefined;
}

function createSchedule(seed: number, kind: Kind): Schedule {
  const random = seeded(seed);
  const checker = new Checker(!kind.wipes);
  const cluster = new Cluster({
    voters: [1, 2, 3, 3, 3, 5][random(0, 6)] ?? 3,
    learners: kind.changes ? random(1, 3) : random(0, 2),
    random: (_member, from, to) => random(from, to),
    onEffect: (member, effect) => checker.onEffect(member, effect),
  });
  return { ...kind, cluster, checker, random, nameCount: 0, changeCount: 0, cutOff: undefined };
}

function anyMember(schedule: Schedule): SimMember {
  const { cluster, random } = schedule;
  return cluster.member(random(1, cluster.members.size + 1));
}

/** A random one of the members that have something of this kind to do, so that few steps are idle. */
function busyMember(schedule: Schedule, busy: (member: SimMember) => boolean): SimMember {
  const members = [...schedule.cluster.members.values()].filter(busy);
  return members[schedule.random(0, Math.max(1, members.length))] ?? anyMember(schedule);
}

function act(schedule: Schedule): void {
  const { cluster, random } = schedule;
  const dice = random(0, 1000);
  if (dice < 420) moveMessages(schedule);
  else if (dice < 560) advance(schedule);
  else if (dice < 640) cluster.persist(busyMember(schedule, ({ outbox }) => outbox.length > 0));
  else if (dice < 740) poll(schedule);
  else if (dice < 830) settle(schedule);
  else if (dice < 845) cluster.land(busyMember(schedule, ({ zombies }) => zombies.length > 0));
  else if (dice < 920) offer(schedule);
  else if (dice < 975) read(schedule);
  else if (dice < 985) cutOff(schedule);
  else disturb(schedule);
}

function moveMessages(schedule: Schedule): void {
  const count = schedule.random(1, 10);
  for (let moved = 0; moved < count; moved += 1) moveMessage(schedule);
}

function moveMessage({ cluster, random, cutOff }: Schedule): void {
  const movable = cluster.net.filter(({ from, to }) => from !== cutOff && to !== cutOff);
  const envelope = movable[random(0, Math.max(1, Math.min(movable.length, 12)))];
  if (envelope === undefined) return;
  const dice = random(0, 100);
  if (dice >= 3) cluster.net.splice(cluster.net.indexOf(envelope), 1);
  if (dice < 97) cluster.deliver(envelope);
}

/** Mostly the leader, for a while: leaders that are deposed and do not know it are where the bugs are. */
function cutOff(schedule: Schedule): void {
  const leads = ({ raft }: SimMember): boolean => raft.status().role === 'leader';
  schedule.cutOff = schedule.cutOff === undefined ? busyMember(schedule, leads).id : undefined;
}

function advance(schedule: Schedule): void {
  const { cluster, random } = schedule;
  cluster.nowMs += random(0, 40) === 0 ? random(200, 2500) : random(1, 60);
  for (const member of cluster.members.values()) if (random(0, 4) > 0) cluster.tick(member);
}

function poll(schedule: Schedule): void {
  const { cluster, random } = schedule;
  const end = cluster.log.length;
  const member = busyMember(schedule, ({ follow }) => follow !== undefined && follow < end);
  cluster.poll(member, random(1, 4));
}

function settle(schedule: Schedule): void {
  const member = busyMember(schedule, ({ append }) => append !== undefined);
  const dice = schedule.random(0, 10);
  if (dice < 5) schedule.cluster.settle(member, 'appended', true);
  else if (dice < 7) schedule.cluster.settle(member, 'unknown', true);
  else if (dice < 9) schedule.cluster.settle(member, 'unknown', false);
  else schedule.cluster.settle(member, 'absent', false);
}

function offer(schedule: Schedule): void {
  const changed = schedule.changes && schedule.random(0, 2) === 0 && change(schedule);
  if (!changed) propose(schedule);
}

function propose(schedule: Schedule): void {
  for (const member of schedule.cluster.members.values()) {
    if (!member.up || !member.raft.canPropose()) continue;
    schedule.nameCount += 1;
    const name = `p${schedule.nameCount}`;
    const { id: owner, bootCount: boot } = member;
    schedule.checker.proposals.set(name, { owner, boot, verdict: undefined });
    schedule.cluster.step(member, { kind: 'propose', record: 'batch', payload: utf8(name) });
  }
}

/** Some leader adds a learner, promotes one or removes a voter, also itself. */
function change(schedule: Schedule): boolean {
  const { cluster, random } = schedule;
  const member = busyMember(schedule, ({ raft, up }) => up && raft.canChangeMembership());
  if (!member.up || !member.raft.canChangeMembership()) return false;
  const { voters, learners } = member.raft.status();
  const id = anyMember(schedule).id;
  const others = (ids: readonly bigint[]): number[] =>
    ids.map(Number).filter((other) => other !== id);
  const has = (ids: readonly bigint[]): boolean => ids.includes(BigInt(id));
  if (has(voters) && voters.length === 1) return false;
  const votes = has(learners);
  const learns = !votes && (!has(voters) || random(0, 2) === 0);
  const payload = membershipPayload(
    [...others(voters), ...(votes ? [id] : [])],
    [...others(learners), ...(learns ? [id] : [])],
  );
  schedule.changeCount += 1;
  const { id: owner, bootCount: boot } = member;
  const name = `change ${schedule.changeCount}`;
  schedule.checker.proposals.set(name, { owner, boot, verdict: undefined });
  cluster.step(member, { kind: 'propose', record: 'config', payload });
  return true;
}

function read(schedule: Schedule): void {
  schedule.nameCount += 1;
  const readId = schedule.nameCount;
  schedule.checker.reads.set(readId, schedule.checker.ackedIndex);
  const leads = ({ raft }: SimMember): boolean => raft.status().role === 'leader';
  const member = schedule.random(0, 2) === 0 ? anyMember(schedule) : busyMember(schedule, leads);
  schedule.cluster.step(member, { kind: 'read', readId });
}

function disturb(schedule: Schedule): void {
  const { cluster, random } = schedule;
  const member = anyMember(schedule);
  const self = member.raft.status();
  const peer = self.peers[random(0, Math.max(1, self.peers.length))]?.id;
  const dice = random(0, 10);
  if (dice < 3) cluster.crash(member);
  else if (dice < 6) {
    if (!member.up) cluster.restart(member, { wipeVotes: schedule.wipes && random(0, 2) === 0 });
  } else if (dice < 7 && peer !== undefined) {
    cluster.step(member, { kind: 'transfer', target: peer });
  } else if (dice < 9 && peer !== undefined) {
    cluster.step(member, { kind: 'peer-reachability', peer, reachable: random(0, 2) === 0 });
  } else cluster.step(member, { kind: 'log-reachable', reachable: random(0, 3) > 0 });
}

/** Everybody up, nothing lost: the cluster must elect a leader and take a write. */
function heal(schedule: Schedule): void {
  const { cluster, checker } = schedule;
  for (const member of cluster.members.values()) {
    if (!member.up) cluster.restart(member, { wipeVotes: false });
    cluster.step(member, { kind: 'log-reachable', reachable: true });
  }
  schedule.cutOff = undefined;
  const before = checker.ackedIndex;
  for (let round = 0; round < 400; round += 1) {
    cluster.nowMs += 50;
    for (const member of cluster.members.values()) cluster.tick(member);
    for (let hop = 0; hop < 4; hop += 1) flush(cluster);
    if (round > 300 && checker.ackedIndex === before) propose(schedule);
  }
  expect(checker.ackedIndex).toBeGreaterThan(before);
  const leaders = [...cluster.members.values()].filter(
    ({ raft }) => raft.status().role === 'leader',
  );
  expect(leaders.length).toBe(1);
  for (const member of cluster.members.values()) {
    expect(member.raft.status().accepted.index).toBe(checker.history.length);
  }
}

function flush(cluster: Cluster): void {
  const messages = cluster.net;
  cluster.net = [];
  for (const envelope of messages) cluster.deliver(envelope);
  for (const member of cluster.members.values()) {
    while (member.outbox.length > 0) cluster.persist(member);
    cluster.settle(member, 'appended', true);
    while (cluster.poll(member, 100));
  }
}

function runSchedule(seed: number, kind: Kind): Schedule {
  const schedule = createSchedule(seed, kind);
  for (let step = 0; step < STEPS; step += 1) act(schedule);
  heal(schedule);
  return schedule;
}

interface Counts {
  readonly acceptedCount: number;
  readonly readCount: number;
  readonly changeCount: number;
}

function runAll(kind: Kind): Counts {
  let acceptedCount = 0;
  let readCount = 0;
  let changeCount = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SCHEDULE_COUNT; seed += 1) {
    try {
      const schedule = runSchedule(seed, kind);
      acceptedCount += schedule.checker.acceptedAt.size;
      readCount += schedule.checker.readCount;
      changeCount += schedule.changeCount;
    } catch (cause) {
      throw new Error(`seed ${seed}, ${JSON.stringify(kind)}: ${String(cause)}`, { cause });
    }
  }
  return { acceptedCount, readCount, changeCount };
}

it('keeps one history, every acknowledgement and fresh reads under random schedules', () => {
  const { acceptedCount, readCount } = runAll({ wipes: false, changes: false });
  // A schedule in which nothing happens proves nothing.
  expect(acceptedCount).toBeGreaterThan(2 * SCHEDULE_COUNT);
  expect(readCount).toBeGreaterThan(2 * SCHEDULE_COUNT);
});

it('keeps one history and every acknowledgement when members lose their votes', () => {
  const { acceptedCount } = runAll({ wipes: true, changes: false });
  expect(acceptedCount).toBeGreaterThan(2 * SCHEDULE_COUNT);
});

it('keeps one history, every acknowledgement and fresh reads while voters come and go', () => {
  const { acceptedCount, changeCount, readCount } = runAll({ wipes: false, changes: true });
  expect(acceptedCount).toBeGreaterThan(2 * SCHEDULE_COUNT);
  expect(readCount).toBeGreaterThan(2 * SCHEDULE_COUNT);
  expect(changeCount).toBeGreaterThan(2 * SCHEDULE_COUNT);
});
