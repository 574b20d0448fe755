import { type ShardId, shardId, utf8 } from '@kvorum/base';
import { revisionKey } from '@kvorum/mvcc';
import type { Replica } from '@kvorum/replica';
import {
  checkRecovered,
  type InvariantName,
  Problems,
  ReplicaChecker,
  type SimMember,
  stateOf,
  Truth,
  VoteChecker,
  World,
} from '@kvorum/simulator';
import { describe, expect, it } from 'vitest';

const SHARD = shardId(0);
const WRITES = 3;

interface Recovered {
  readonly world: World;
  readonly truth: Truth;
  readonly first: SimMember;
}

async function write(world: World, member: SimMember, name: string): Promise<void> {
  world.replica(member, SHARD).submit({
    request: { op: 'put', key: utf8(name), value: utf8(name) },
    session: undefined,
    deadlineMs: member.nowMs() + 5000,
    bytes: 1,
    done: () => undefined,
  });
  await world.run(200);
}

/** A shard whose topic was made anew, halted, recovered, and written to since. */
async function recovered(): Promise<Recovered> {
  const world = new World({ seed: 1 });
  world.start();
  const leader = await world.awaitLeader(SHARD);
  for (let i = 0; i < WRITES; i += 1) await write(world, leader, `before-${i}`);
  world.broker.deleteLog(world.logName(SHARD));
  world.broker.createLog(world.logName(SHARD));
  await write(world, leader, 'too-late');
  for (const member of world.members) member.crash();
  for (const member of world.members) member.start();
  const [first] = world.members;
  if (first === undefined) throw new RangeError('a member');
  await world.run(5000);
  expect(first.replica(SHARD)?.status().raft.halted).toBeDefined();
  const truth = Truth.after(stateOf(first, SHARD));
  world.recover(SHARD, first);
  await write(world, await world.awaitLeader(SHARD), 'after');
  await world.run(3000);
  truth.extend(world.history(SHARD));
  return { world, truth, first };
}

/** Has a member show another status of its replica than the true one. */
function show(member: SimMember, shown: Replica, doctored: object): void {
  const status = { ...shown.status(), ...doctored };
  const replica = new Proxy(shown, { get: (): unknown => () => status });
  member.replica = () => replica;
}

describe('recovered', () => {
  it('sees nothing when everybody holds what the chosen one held, and what came after', async () => {
    const { world, truth } = await recovered();
    expect(truth.keys()).toHaveLength(WRITES + 1);
    expect(checkRecovered(world, SHARD, truth)).toEqual([]);
  });

  it('a key that the chosen replica held is gone, or another one is there', async () => {
    const { world, truth, first } = await recovered();
    const { stores } = first;
    const prefix = revisionKey(0, 0)[0];
    const rows: typeof stores.rows = (name, when) => {
      const all = stores.rows(name, when);
      const oldest = all.find(([key]) => key[0] === prefix);
      return all.filter((row) => row !== oldest);
    };
    Object.assign(first, { stores: { ...stores, rows } });
    const [text, ...others] = checkRecovered(world, SHARD, truth);
    expect(text).toMatch(/before-0 is nothing, was before-0@/);
    expect(others).toEqual([]);
  });

  it('a replica stays behind in its generation, or is halted', async () => {
    const { world, truth, first } = await recovered();
    const shown = world.replica(first, SHARD);
    const { raft } = shown.status();
    show(first, shown, { raft: { ...raft, accepted: { ...raft.accepted, generation: 0 } } });
    expect(checkRecovered(world, SHARD, truth).join()).toMatch(/of generation 0, not 1/);
    const halted = { reason: 'log-rewritten', detail: '', offset: 0, index: 0 };
    show(first, shown, { raft: { ...raft, halted } });
    expect(checkRecovered(world, SHARD, truth).join()).toMatch(/is halted/);
  });
});

it('one-generation: a leader in a generation that was left', async () => {
  const { world, truth } = await recovered();
  const truths = new Map<ShardId, Truth>([[SHARD, truth]]);
  const problems = new Problems();
  const names = (): InvariantName[] => problems.found.map(({ invariant }) => invariant);
  const votes = new VoteChecker(world, truths, problems);
  const checker = new ReplicaChecker(world, { truths, votes, problems });
  checker.check();
  expect(names()).not.toContain('one-generation');
  const leader = await world.awaitLeader(SHARD);
  const shown = world.replica(leader, SHARD);
  const { raft } = shown.status();
  show(leader, shown, { raft: { ...raft, accepted: { ...raft.accepted, generation: 0 } } });
  checker.check();
  expect(names()).toContain('one-generation');
});
