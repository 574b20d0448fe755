import { type MemberId, memberId, shardId } from '@kvorum/base';
import { HARD_STATE_KEY, META_KEY } from '@kvorum/mvcc';
import type { Replica } from '@kvorum/replica';
import {
  checkDamaged,
  checkFencing,
  checkOwnership,
  checkPast,
  DiskChecker,
  damageLog,
  History,
  INVARIANTS,
  type InvariantName,
  LagChecker,
  type Op,
  type OpRecord,
  type Outcome,
  Problems,
  ReplicaChecker,
  type SimMember,
  TruncationChecker,
  Truth,
  VoteChecker,
  World,
} from '@kvorum/simulator';
import { seededRng } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';

const SHARD = shardId(0);

interface Watched {
  readonly world: World;
  readonly truth: Truth;
  readonly problems: Problems;
  readonly votes: VoteChecker;
  readonly replicas: ReplicaChecker;
}

/** A small cluster with a leader and some writes, looked at by every live checker. */
async function watched(seed = 1, writes = 0): Promise<Watched> {
  const world = new World({ seed });
  const truth = new Truth();
  const truths = new Map([[SHARD, truth]]);
  const problems = new Problems();
  const votes = new VoteChecker(world, truths, problems);
  const replicas = new ReplicaChecker(world, { truths, votes, problems });
  world.observe(votes);
  world.observe(new DiskChecker(world, truths, problems));
  world.onEvent(() => replicas.step());
  world.start();
  const leader = await world.awaitLeader(SHARD);
  await world.run(500);
  for (let i = 0; i < writes; i += 1) {
    const key = new Uint8Array([0x61 + i]);
    world.replica(leader, SHARD).submit({
      request: { op: 'put', key, value: key },
      session: undefined,
      deadlineMs: leader.nowMs() + 5000,
      bytes: 1,
      done: () => undefined,
    });
    await world.run(100);
  }
  await world.run(500);
  replicas.check();
  return { world, truth, problems, votes, replicas };
}

function names({ found }: Problems): readonly InvariantName[] {
  return found.map(({ invariant }) => invariant);
}

function memberOf(world: World, index: number): SimMember {
  const member = world.members[index];
  if (member === undefined) throw new RangeError(`no member ${index}`);
  return member;
}

/** Has a member show another status of its replica than the true one. */
function show(member: SimMember, shown: Replica, doctored: object): void {
  const status = { ...shown.status(), ...doctored };
  const replica = new Proxy(shown, {
    // Only the status is asked for.
    get: (): unknown => () => status,
  });
  member.replica = () => replica;
}

function truncateWhole(world: World): void {
  const bounds = world.broker.bounds(world.logName(SHARD));
  if (bounds !== undefined) world.broker.truncateHead(world.logName(SHARD), bounds.end);
}

function sequence(...steps: readonly (readonly [Op, Outcome])[]): readonly OpRecord[] {
  const history = new History();
  for (const [op, outcome] of steps) history.finish(history.begin('c', SHARD, op, 0), outcome);
  return history.ops;
}

function ok(revision: number, found: Record<string, string> = {}, changed = true): Outcome {
  return { kind: 'ok', revision, changed, found: new Map(Object.entries(found)) };
}

it('sees nothing in a healthy cluster', async () => {
  const { problems } = await watched(1, 3);
  expect(problems.found).toEqual([]);
});

it('counts the same violation once, and knows every name', () => {
  const problems = new Problems();
  for (const name of Object.keys(INVARIANTS) as InvariantName[]) {
    problems.addAll(name, ['x', 'x', 'y']);
  }
  expect(problems.found).toHaveLength(2 * Object.keys(INVARIANTS).length);
});

describe('replicas', () => {
  it('state-hash: different content at one index', async () => {
    const { problems, replicas } = await watched();
    replicas.hash('m1', SHARD, { index: 7, hash: 'aaaa' });
    replicas.hash('m2', SHARD, { index: 7, hash: 'aaaa' });
    replicas.hash('m2', SHARD, { index: 8, hash: 'bbbb' });
    expect(problems.found).toEqual([]);
    replicas.hash('m3', SHARD, { index: 7, hash: 'cccc' });
    expect(names(problems)).toEqual(['state-hash']);
  });

  it('one-history: a replica that goes by another log', async () => {
    const other = await watched(2, 3);
    const { world } = await watched(1, 2);
    const problems = new Problems();
    const truths = new Map([[SHARD, other.truth]]);
    const votes = new VoteChecker(world, truths, problems);
    new ReplicaChecker(world, { truths, votes, problems }).check();
    expect(new Set(names(problems))).toContain('one-history');
    const empty = new Problems();
    const wrong = new Truth();
    wrong.freeze();
    new ReplicaChecker(world, {
      truths: new Map([[SHARD, wrong]]),
      votes,
      problems: empty,
    }).check();
    expect(names(empty)).not.toContain('one-history');
  });

  it('never-backwards, applied-behind-accepted, revisions, bounds, old-term-fenced, leader-per-term', async () => {
    const { problems, replicas, world } = await watched(1, 2);
    const member = memberOf(world, 0);
    const leader = await world.awaitLeader(SHARD);
    const shown = world.replica(leader, SHARD);
    const status = shown.status();
    const { raft } = status;
    const look = (doctored: object): void => {
      show(member, shown, doctored);
      member.dirty = true;
      replicas.step();
    };
    look({});
    look({ revision: status.revision - 1, appliedIndex: status.appliedIndex });
    expect(names(problems)).toContain('never-backwards');
    look({ appliedIndex: status.appliedIndex + 5 });
    expect(names(problems)).toContain('applied-behind-accepted');
    look({ revision: status.revision + 1, appliedIndex: status.appliedIndex });
    expect(names(problems)).toContain('revisions');
    look({ queuedCommands: world.limits.shardQueueCommandsMax + 1 });
    expect(names(problems)).toContain('bounds');
    const accepted = { ...raft.accepted, leaderId: 'ff'.repeat(16) };
    look({ raft: { ...raft, accepted: { ...accepted, index: accepted.index - 1 } } });
    expect(names(problems)).toContain('old-term-fenced');
    expect(names(problems)).toContain('leader-per-term');
  });

  it('log-start: a head deleted that somebody still needs', async () => {
    const { problems, replicas, world, truth } = await watched(1, 3);
    const behind = memberOf(world, 0);
    const shown = world.replica(behind, SHARD);
    const { raft } = shown.status();
    show(behind, shown, { raft: { ...raft, accepted: { ...raft.accepted, offset: 0 } } });
    damageLog(world, seededRng(5), { shard: SHARD, damage: 'start-moved' });
    truncateWhole(world);
    replicas.check();
    expect(names(problems)).toContain('log-start');
    const excused = new Problems();
    truth.startMoved = true;
    const truths = new Map([[SHARD, truth]]);
    const votes = new VoteChecker(world, truths, excused);
    new ReplicaChecker(world, { truths, votes, problems: excused }).check();
    expect(names(excused)).not.toContain('log-start');
  });
});

describe('truncation', () => {
  it('log-truncation: more deleted than a voter’s disk holds synced', async () => {
    const { problems, world } = await watched(1, 3);
    const [leader, other] = [await world.awaitLeader(SHARD), memberOf(world, 1)];
    const checker = new TruncationChecker(world, problems);
    await world.run(6000);
    const held = other.durableOffset(SHARD);
    expect(held).toBeGreaterThan(0);
    checker.truncated(leader, SHARD, held + 1);
    expect(names(problems)).toEqual([]);
    checker.truncated(leader, SHARD, held + 2);
    expect(names(problems)).toContain('log-truncation');
  });

  it('log-truncation: but not what a lost disk held, nor for a voter that was given up', async () => {
    const { problems, world } = await watched(1, 3);
    const [leader, other] = [await world.awaitLeader(SHARD), memberOf(world, 1)];
    const checker = new TruncationChecker(world, problems);
    await world.run(6000);
    const held = other.durableOffset(SHARD);
    other.crash();
    other.wipe();
    checker.truncated(leader, SHARD, held + 1);
    expect(names(problems)).toEqual([]);
    const shown = world.replica(leader, SHARD);
    show(leader, shown, { truncation: { before: 0, excluded: world.members.map(({ id }) => id) } });
    checker.truncated(leader, SHARD, held + 2);
    expect(names(problems)).toContain('log-truncation');
    const excused = new Problems();
    show(leader, shown, { truncation: { before: 0, excluded: [other.id] } });
    new TruncationChecker(world, excused).truncated(leader, SHARD, held + 1);
    expect(names(excused)).toEqual([]);
  });

  it('install-idle: an office or a vote while a snapshot is installed', async () => {
    const { problems, replicas, world } = await watched();
    const leader = await world.awaitLeader(SHARD);
    show(leader, world.replica(leader, SHARD), { phase: 'installing' });
    leader.dirty = true;
    replicas.step();
    expect(names(problems)).toEqual(['install-idle']);
    const voted = new Problems();
    const checker = new TruncationChecker(world, voted);
    const vote = { kind: 'vote-response', pre: false, term: 7, granted: true };
    checker.sent(leader, SHARD, vote);
    expect(names(voted)).toEqual([]);
    await world.run(1000);
    checker.sent(leader, SHARD, { ...vote, granted: false });
    expect(names(voted)).toEqual([]);
    checker.sent(leader, SHARD, vote);
    expect(names(voted)).toEqual(['install-idle']);
  });
});

describe('votes', () => {
  async function ballots(): Promise<Watched & { m: readonly SimMember[] }> {
    const all = await watched();
    return { ...all, m: all.world.members };
  }
  const request = { kind: 'vote-request', pre: false, term: 50, transfer: false };
  const granted = { kind: 'vote-response', pre: false, term: 50, granted: true };

  it('vote-once: for two candidates in one term, unless the disk is a new one', async () => {
    const { m, problems, votes } = await ballots();
    const [a, b, c] = [m[0], m[1], m[2]];
    if (a === undefined || b === undefined || c === undefined) throw new RangeError('members');
    votes.sent(a, SHARD, granted, b.id);
    votes.sent(a, SHARD, granted, b.id);
    expect(problems.found).toEqual([]);
    votes.sent(a, SHARD, granted, c.id);
    expect(names(problems)).toEqual(['vote-once']);
    b.wipes += 1;
    votes.sent(b, SHARD, granted, c.id);
    expect(names(problems)).toEqual(['vote-once']);
  });

  it('pre-vote-majority: a campaign that nobody agreed to, unless it is a transfer', async () => {
    const { problems, votes, world } = await ballots();
    const [a, b] = [memberOf(world, 0), memberOf(world, 1)];
    votes.sent(a, SHARD, { ...request, transfer: true }, b.id);
    expect(problems.found).toEqual([]);
    votes.sent(a, SHARD, { ...request, term: 51 }, b.id);
    expect(names(problems)).toEqual(['pre-vote-majority']);
  });

  it('pre-vote-majority: of those who vote where the candidate stood, not of those who do when its request leaves', async () => {
    const { problems, truth, votes, world } = await ballots();
    const [a, b] = [memberOf(world, 0), memberOf(world, 1)];
    const { index } = truth;
    votes.sent(a, SHARD, { ...request, pre: true }, b.id);
    votes.sent(b, SHARD, { ...granted, pre: true }, a.id);
    const voters = [...world.initialVoters, memberId(90n), memberId(91n)];
    truth.memberships.push({ index, membership: { voters, learners: [] } });
    votes.sent(a, SHARD, { ...request, history: { index: index - 1 } }, b.id);
    expect(problems.found).toEqual([]);
    votes.sent(a, SHARD, { ...request, history: { index } }, b.id);
    expect(names(problems)).toEqual(['pre-vote-majority']);
  });

  it('elected-by-majority: one vote answered twice is one vote', async () => {
    const { problems, votes, world } = await ballots();
    const [a, b] = [memberOf(world, 0), memberOf(world, 1)];
    votes.sent(b, SHARD, granted, a.id);
    votes.sent(b, SHARD, granted, a.id);
    votes.leads(a, SHARD, { term: 50, votersBefore: [] });
    expect(names(problems)).toEqual(['elected-by-majority']);
    votes.sent(memberOf(world, 2), SHARD, granted, a.id);
    votes.leads(a, SHARD, { term: 50, votersBefore: [] });
    expect(problems.found).toHaveLength(1);
  });

  it('wiped-vote: a vote as the one whose files were deleted', async () => {
    const { problems, votes, world } = await ballots();
    const [a, b] = [memberOf(world, 0), memberOf(world, 1)];
    a.crash();
    world.deleteFiles(a, SHARD);
    votes.sent(a, SHARD, { ...granted, granted: false }, b.id);
    expect(problems.found).toEqual([]);
    votes.sent(a, SHARD, granted, b.id);
    expect(names(problems)).toEqual(['wiped-vote']);
    // As somebody else it may vote.
    world.replace(a);
    votes.sent(a, SHARD, { ...granted, term: granted.term + 1 }, b.id);
    expect(names(problems)).toEqual(['wiped-vote']);
  });

  it('learner-lag: a voter that has not caught up', async () => {
    const { problems, truth, world } = await watched();
    const [a, b] = world.members.map(({ id }) => id);
    if (a === undefined || b === undefined) throw new RangeError('two members');
    const most = world.limits.learnerLagRecordsMax;
    const lag = new LagChecker(world, problems);
    const promoted = (id: MemberId, index: number): void => {
      truth.memberships.push({ index, membership: { voters: [], learners: [id] } });
      truth.memberships.push({ index, membership: { voters: [id], learners: [] } });
      lag.check(SHARD, truth);
    };
    lag.accepted(a, SHARD, 100);
    promoted(a, 100 + most + 1);
    expect(problems.found).toEqual([]);
    const answer = { kind: 'heartbeat-response', index: 50 };
    lag.sent(memberOf(world, 1), SHARD, answer);
    promoted(b, 50 + most + 2);
    expect(names(problems)).toEqual(['learner-lag']);
  });

  it('vote-durable: a vote that the disk does not know', async () => {
    const { problems, votes, world } = await ballots();
    const a = memberOf(world, 0);
    votes.crashed(a);
    expect(problems.found).toEqual([]);
    votes.sent(a, SHARD, granted, memberOf(world, 1).id);
    votes.crashed(a);
    expect(names(problems)).toEqual(['vote-durable']);
  });
});

describe('disks', () => {
  it.each([
    ['the position without its data', (key: Uint8Array) => key[0] === 0x72],
    ['the data without its position', (key: Uint8Array) => key[0] === META_KEY[0]],
  ])('batch-atomic: %s', async (_, lost) => {
    const { problems, world } = await watched(1, 3);
    const member = memberOf(world, 1);
    const rows = member.stores.rows(SHARD, 'now');
    const left = rows.filter(([key]) => !lost(key) || key[0] === HARD_STATE_KEY[0]);
    const newest = rows.filter(([key]) => lost(key)).slice(0, -1);
    const doctored = { ...member.stores, rows: () => [...left, ...newest] };
    if (left.length === rows.length) throw new RangeError('nothing was lost');
    const disks = new DiskChecker(world, new Map([[SHARD, new Truth()]]), problems);
    Object.assign(member, { stores: doctored });
    disks.crashed(member);
    const position = rows.filter(([key]) => key[0] === META_KEY[0]);
    // Without any position row the store is as good as empty: it starts over from the log.
    expect(names(problems)).toEqual(lost(position[0]?.[0] ?? META_KEY) ? [] : ['batch-atomic']);
  });
});

describe('the log', () => {
  it('one-content: two contents under one term, leader and seq', async () => {
    const { truth, world } = await watched(1, 1);
    const { entries, end } = world.history(SHARD);
    expect(truth.forked).toEqual([]);
    const last = entries[end - 1];
    if (last === undefined) throw new RangeError('an entry');
    const bytes = last.bytes.slice();
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const forged = { offset: last.offset, bytes };
    try {
      truth.extend({ entries: [...entries.slice(0, end), forged], end: end + 1 });
    } catch {
      // The forged payload need not decode.
    }
    expect(truth.forked.length).toBeLessThanOrEqual(1);
  });

  it.each(['tail-rewritten', 'topic-recreated', 'start-moved'] as const)(
    'detect-and-halt: %s, and somebody goes on',
    async (damage) => {
      const { world } = await watched(1, 5);
      expect(checkDamaged(world, SHARD)).toEqual([]);
      world.broker.setUnavailable(true);
      if (damage === 'start-moved') {
        const behind = memberOf(world, 0);
        const shown = world.replica(behind, SHARD);
        const { raft } = shown.status();
        const accepted = { ...raft.accepted, offset: 0, lastOffset: 0 };
        show(behind, shown, { raft: { ...raft, accepted } });
      }
      if (damage === 'start-moved') truncateWhole(world);
      else damageLog(world, seededRng(8), { shard: SHARD, damage });
      expect(checkDamaged(world, SHARD).join()).toMatch(/goes on though/);
    },
  );

  it('detect-and-halt: a halt without a cause', async () => {
    const { world } = await watched(1, 2);
    const member = memberOf(world, 0);
    const shown = world.replica(member, SHARD);
    const halted = { reason: 'log-rewritten', detail: '', offset: 0, index: 0 };
    show(member, shown, { raft: { ...shown.status().raft, halted } });
    expect(checkDamaged(world, SHARD).join()).toMatch(/halted without a cause/);
  });
});

describe('answers', () => {
  const create = (value: string): Op => ({ kind: 'swap', key: 's0/k', expected: undefined, value });

  it('fencing: a later lock with a lower token', () => {
    const good = sequence([create('a'), ok(5)], [create('b'), ok(9)]);
    expect(checkFencing(good)).toEqual([]);
    const bad = sequence([create('a'), ok(9)], [create('b'), ok(5)]);
    expect(checkFencing(bad)).toHaveLength(1);
  });

  it('shard-ownership: a key of another shard', () => {
    const truth = new Truth();
    truth.add({ revision: 2, key: 's0/a', value: 'v' });
    expect(checkOwnership(SHARD, truth)).toEqual([]);
    truth.add({ revision: 3, key: 's1/a', value: 'w' });
    expect(checkOwnership(SHARD, truth)).toEqual(['s1/a stands in shard 0']);
  });

  it('history: a wrong value at an older revision, and a compaction that was none', () => {
    const truth = new Truth();
    truth.add({ revision: 2, key: 'a', value: 'v1' });
    truth.add({ revision: 3, key: 'a', value: 'v2' });
    const past: Op = { kind: 'past', key: 'a', revision: 2 };
    expect(checkPast(sequence([past, ok(3, { a: 'v1@2' }, false)]), truth)).toEqual([]);
    expect(checkPast(sequence([past, ok(3, { a: 'v2@3' }, false)]), truth)).toHaveLength(1);
    const compacted: Outcome = { kind: 'failed', code: 'KV_COMPACTED' };
    expect(checkPast(sequence([past, compacted]), truth)).toHaveLength(1);
    truth.compactRevision = 3;
    expect(checkPast(sequence([past, compacted]), truth)).toEqual([]);
  });
});
