import { type ShardId, toHex } from '@kvorum/base';
import type { ReplicaStatus } from '@kvorum/replica';
import type { SimMember } from '../member.ts';
import type { Truth } from '../truth.ts';
import type { World } from '../world.ts';

/** What the records of the log itself can show to a replica whose own history lost nothing. */
const SHOWN_BY_RECORDS: ReadonlySet<string> = new Set([
  'seq-gap',
  'chain-mismatch',
  'barrier-missing',
  'history-contradicted',
]);

/**
 * After a log was damaged and everybody has started again: a replica whose history is not the one that the log holds now, or that still
 * needs what was deleted, is halted; every other one is not. Returns what is wrong.
 *
 * @param truth - the history that the log holds now.
 */
export function checkDamaged(world: World, shard: ShardId, truth: Truth): string[] {
  return world.members.flatMap((member) => checkMember(world, { member, shard, truth }));
}

function checkMember(
  world: World,
  at: { readonly member: SimMember; readonly shard: ShardId; readonly truth: Truth },
): string[] {
  const { member, shard, truth } = at;
  const status = member.replica(shard)?.status();
  if (status === undefined) return [];
  const { accepted, halted } = status.raft;
  const proof = proofAgainst(world, status, truth);
  const about = `${member.name} shard ${shard} at index ${accepted.index}`;
  if (isUndecided(world, status, truth)) return [];
  if (proof !== undefined && halted === undefined) return [`${about} goes on though ${proof}`];
  if (proof === undefined && halted !== undefined && !SHOWN_BY_RECORDS.has(halted.reason)) {
    return [`${about} halted without a cause: ${halted.reason}: ${halted.detail}`];
  }
  return [];
}

/** Why this replica cannot go on with the log as it is now; undefined when it can. */
function proofAgainst(world: World, status: ReplicaStatus, truth: Truth): string | undefined {
  const { accepted } = status.raft;
  const { start, end } = world.broker.bounds(world.logName(status.shard)) ?? { start: 0, end: 0 };
  if (accepted.offset + 1 < start) {
    return `the log starts at ${start} and it needs ${accepted.offset + 1}`;
  }
  if (truth.chainAt(accepted.index) === toHex(accepted.chainHash)) return undefined;
  return `the log, which ends at ${end}, holds another history than its own up to ${accepted.lastOffset}`;
}

/**
 * Ending just below the last record that a replica knows, the log looks as if its high-water mark were late: to wait and to lead nobody is
 * as right as to halt.
 */
function isUndecided(world: World, status: ReplicaStatus, truth: Truth): boolean {
  const { accepted, role } = status.raft;
  if (truth.chainAt(accepted.index) === toHex(accepted.chainHash) || role === 'leader')
    return false;
  return accepted.lastOffset === world.broker.bounds(world.logName(status.shard))?.end;
}
