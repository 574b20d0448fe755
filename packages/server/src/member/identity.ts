import {
  type ClusterId,
  clusterId,
  concatBytes,
  formatId,
  type LeaderId,
  leaderId,
  type MemberId,
  memberId,
  toHex,
  utf8,
} from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import { sha256 } from './system.ts';

/** The first 8 bytes of a digest as an unsigned number that is never 0. */
function firstId(digest: Uint8Array): bigint {
  const value = BigInt(`0x${toHex(digest.subarray(0, 8))}`);
  return value === 0n ? 1n : value;
}

/** Every member derives the same id from the shared name (or token), so no member has to hand it out. */
export function deriveClusterId(nameOrToken: string): ClusterId {
  return clusterId(firstId(sha256(utf8(`kvorum-cluster:${nameOrToken}`))));
}

/** The same at every start of a member, and known to the others from its name alone. */
export function deriveMemberId(cluster: ClusterId, name: string): MemberId {
  return memberId(firstId(sha256(utf8(`kvorum-member:${formatId(cluster)}:${name}`))));
}

/** Identity of the meta shard's log, 16 bytes; the other shards' are random and stand in the shard map. */
export function deriveMetaUid(cluster: ClusterId): Uint8Array {
  return sha256(concatBytes(utf8(formatId(cluster)), utf8('meta'))).slice(0, 16);
}

/** A fresh leader identity for this process: member id, then a random boot id. */
export function freshLeaderId(member: MemberId, rng: Rng): LeaderId {
  return leaderId(`${formatId(member)}${toHex(rng.bytes(8))}`);
}
