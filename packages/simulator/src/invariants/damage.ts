import { equalBytes, type ShardId, toHex } from '@kvorum/base';
import type { ReplicaStatus } from '@kvorum/replica';
import type { SimMember } from '../member.ts';
import { sha256 } from '../sha256.ts';
import type { World } from '../world.ts';

/** What the records of the log itself can show to a replica whose own history lost nothing. */
const SHOWN_BY_RECORDS: ReadonlySet<string> = new Set([
  'seq-gap',
  'chain-mismatch',
  'barrier-missing',
  'history-contradicted',
]);

/**
 * After a log was damaged and everybody has started again: a replica whose last accepted record is no longer where it was is halted, and
 * so is one that needs what was deleted and that nobody holds any more; no other one is; those that go on hold one history. Returns what is
 * wrong.
 *
 * What lies below the last record is not read again: replicas that had all accepted what was lost, and whose newer records stand in the
 * log, go on together. Nothing is lost with them; whoever reads the log from its start halts.
 */
export function checkDamaged(world: World, shard: ShardId): string[] {
  const wrong = world.members.flatMap((member) => checkMember(world, shard, member));
  return [...wrong, ...checkAgreement(world, shard)];
}

function checkMember(world: World, shard: ShardId, member: SimMember): string[] {
  const status = member.replica(shard)?.status();
  if (status === undefined) return [];
  const { accepted, halted } = status.raft;
  const proof = proofAgainst(world, status);
  const about = `${member.name} shard ${shard} at index ${accepted.index}`;
  if (halted === undefined && awaitsForCause(world, status)) return [];
  if (proof !== undefined && halted === undefined) return [`${about} goes on though ${proof}`];
  if (proof === undefined && halted !== undefined && !SHOWN_BY_RECORDS.has(halted.reason)) {
    return [`${about} halted without a cause: ${halted.reason}: ${halted.detail}`];
  }
  return [];
}

/** It lacks what the log lost, and who holds that is halted, so nobody gives it and nobody says that it is gone. */
function awaitsForCause(world: World, { phase, raft, shard }: ReplicaStatus): boolean {
  if (phase !== 'installing') return false;
  const start = world.broker.bounds(world.logName(shard))?.start ?? 0;
  if (raft.accepted.offset + 1 >= start) return false;
  const holders = world.members.flatMap((member) => {
    const other = member.replica(shard)?.status().raft;
    return other !== undefined && other.accepted.offset + 1 >= start ? [other] : [];
  });
  return holders.length > 0 && holders.every(({ halted }) => halted !== undefined);
}

/** Why this replica cannot go on with the log as it is now; undefined when it can. */
function proofAgainst(world: World, status: ReplicaStatus): string | undefined {
  const { index, lastDigest, lastOffset, offset } = status.raft.accepted;
  const name = world.logName(status.shard);
  const { start, end } = world.broker.bounds(name) ?? { start: 0, end: 0 };
  if (offset + 1 < start) return `the log starts at ${start} and it needs ${offset + 1}`;
  if (offset + 1 > end) return `the log ends at ${end} and it has read up to ${offset}`;
  if (lastOffset < 0) return index === 0 ? undefined : `it forgot where record ${index} stood`;
  if (lastOffset < start) return undefined;
  const entry = world.broker.history(name).entries[lastOffset];
  const found = entry === undefined ? undefined : sha256(entry.bytes);
  if (found !== undefined && equalBytes(found, lastDigest)) return undefined;
  return `its last record at ${lastOffset} is ${found === undefined ? 'gone' : 'another one'}`;
}

function checkAgreement(world: World, shard: ShardId): string[] {
  const byIndex = new Map<number, { readonly chain: string; readonly name: string }>();
  const wrong: string[] = [];
  for (const member of world.members) {
    const raft = member.replica(shard)?.status().raft;
    if (raft === undefined || raft.halted !== undefined) continue;
    const { chainHash, index } = raft.accepted;
    const known = byIndex.get(index);
    const chain = toHex(chainHash);
    if (known === undefined) byIndex.set(index, { chain, name: member.name });
    else if (known.chain !== chain) {
      wrong.push(`${member.name} and ${known.name} go on with two histories at index ${index}`);
    }
  }
  return wrong;
}
