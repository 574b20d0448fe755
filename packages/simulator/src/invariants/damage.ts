import { equalBytes, type ShardId, toHex } from '@kvorum/base';
import type { SimMember } from '../member.ts';
import { sha256 } from '../sha256.ts';
import type { World } from '../world.ts';

/**
 * After a log was damaged and everybody has started again: a replica whose last accepted record is no longer where it was, or that still
 * needs what was deleted, is halted; every other one is not. Returns what is wrong.
 */
export function checkDamaged(world: World, shard: ShardId): string[] {
  return world.members.flatMap((member) => checkMember(world, shard, member));
}

function checkMember(world: World, shard: ShardId, member: SimMember): string[] {
  const status = member.replica(shard)?.status();
  if (status === undefined) return [];
  const { accepted, halted } = status.raft;
  const proof = proofAgainst(world, shard, accepted);
  const about = `${member.name} shard ${shard} at index ${accepted.index}`;
  if (proof !== undefined && halted === undefined) return [`${about} goes on though ${proof}`];
  // What stands in the log now may contradict it further up: records on another history than its own.
  const judged = halted?.reason === 'seq-gap' || halted?.reason === 'chain-mismatch';
  const barrierless = halted?.reason === 'barrier-missing';
  if (proof === undefined && halted !== undefined && !judged && !barrierless) {
    return [`${about} halted without a cause: ${halted.reason}: ${halted.detail}`];
  }
  return [];
}

interface Position {
  readonly offset: number;
  readonly lastOffset: number;
  readonly lastDigest: Uint8Array;
}

/** Why this replica cannot go on with the log as it is now; undefined when it can. */
function proofAgainst(world: World, shard: ShardId, at: Position): string | undefined {
  const name = world.logName(shard);
  const { entries } = world.broker.history(name);
  const { start, end } = world.broker.bounds(name) ?? { start: 0, end: 0 };
  if (at.offset + 1 < start) return `the log starts at ${start} and it needs ${at.offset + 1}`;
  // Ending just below the last record it knows, the log looks as if its high-water mark were late: it waits, and leads nobody.
  if (at.lastOffset === end) return undefined;
  if (at.offset + 1 > end) return `the log ends at ${end} and it has read up to ${at.offset}`;
  if (at.lastOffset < start || at.lastDigest.length === 0) return undefined;
  const entry = entries[at.lastOffset];
  const found = entry === undefined ? undefined : sha256(entry.bytes);
  if (found !== undefined && equalBytes(found, at.lastDigest)) return undefined;
  return `its last record at ${at.lastOffset} is ${found === undefined ? 'gone' : toHex(found)}`;
}
