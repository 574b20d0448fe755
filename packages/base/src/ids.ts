import { assert, InvariantError } from './assert.ts';

declare const brand: unique symbol;
/** A nominal type: `Branded<number, 'Term'>` cannot be passed where a LogIndex is expected. */
export type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** Raft election number of one shard. 0 = before the first election. Safe integer. */
export type Term = Branded<number, 'Term'>;
/** Position in a shard's accepted Raft log: the count of accepted records. 0 = nothing accepted. */
export type LogIndex = Branded<number, 'LogIndex'>;
/** Position of a record in the shared log (a Kafka offset); ignored records occupy offsets too. -1 = before the first. */
export type LogOffset = Branded<number, 'LogOffset'>;
/** Main MVCC revision of one timeline. A fresh store is at 1; the first write is 2 (as etcd). */
export type Revision = Branded<number, 'Revision'>;
/** `meta` or a decimal number; also the last part of the topic name `raft-log-<shard>`. */
export type ShardId = Branded<string, 'ShardId'>;
/** Identity of a server process in the cluster: unsigned 64 bits, never 0. */
export type MemberId = Branded<bigint, 'MemberId'>;
export type ClusterId = Branded<bigint, 'ClusterId'>;
/** etcd lease id: signed 64 bits; 0 = no lease. */
export type LeaseId = Branded<bigint, 'LeaseId'>;
/**
 * Identity of one leader *process*: 32 lower-case hex digits, member id then a random boot id. A restarted
 * process has a new one, so a lost vote file cannot make two streams with one (term, leader, seq).
 */
export type LeaderId = Branded<string, 'LeaderId'>;

/** Asked several times a message: the text is only made for what is wrong. */
function counter(value: number, name: string): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new InvariantError(`${name} must be a safe integer >= 0: ${value}`);
}
export function term(value: number): Term {
  return counter(value, 'term') as Term;
}
export function logIndex(value: number): LogIndex {
  return counter(value, 'logIndex') as LogIndex;
}
export function logOffset(value: number): LogOffset {
  if (Number.isSafeInteger(value) && value >= -1) return value as LogOffset;
  throw new InvariantError(`logOffset must be a safe integer >= -1: ${value}`);
}
export function revision(value: number): Revision {
  return counter(value, 'revision') as Revision;
}

const SHARD_ID = /^(meta|0|[1-9][0-9]{0,4})$/;
export const META_SHARD: ShardId = 'meta' as ShardId;
export function isShardId(value: unknown): value is ShardId {
  return typeof value === 'string' && SHARD_ID.test(value);
}
export function shardId(value: string | number): ShardId {
  const text = String(value);
  assert(isShardId(text), `shard id must be "meta" or 0..99999: ${text}`);
  return text;
}

/** Name of a shard's log: generation 0 is `<prefix><shard>`, later ones `<prefix><shard>.g<n>`. */
export function logTopic(prefix: string, shard: ShardId, generation: number): string {
  assert(
    Number.isSafeInteger(generation) && generation >= 0,
    `generation must be a safe integer >= 0: ${generation}`,
  );
  return generation === 0 ? `${prefix}${shard}` : `${prefix}${shard}.g${generation}`;
}

const U64_MAX = 0xffff_ffff_ffff_ffffn;
export function memberId(value: bigint): MemberId {
  assert(
    value > 0n && value <= U64_MAX,
    `member id must be an unsigned 64-bit integer > 0: ${value}`,
  );
  return value as MemberId;
}
export function clusterId(value: bigint): ClusterId {
  assert(
    value > 0n && value <= U64_MAX,
    `cluster id must be an unsigned 64-bit integer > 0: ${value}`,
  );
  return value as ClusterId;
}
export function leaseId(value: bigint): LeaseId {
  assert(value === BigInt.asIntN(64, value), `lease id must be a signed 64-bit integer: ${value}`);
  return value as LeaseId;
}
export const NO_LEASE: LeaseId = 0n as LeaseId;

/** The lease id in a decoded message, as a number or a bigint, whichever the encoder chose; undefined when it is none. */
export function leaseIdOf(value: unknown): LeaseId | undefined {
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) ? (BigInt(value) as LeaseId) : undefined;
  }
  const isId = typeof value === 'bigint' && value === BigInt.asIntN(64, value);
  return isId ? (value as LeaseId) : undefined;
}

/** 16 lower-case hex digits, as operators see member and cluster ids. */
export function formatId(id: MemberId | ClusterId): string {
  return id.toString(16).padStart(16, '0');
}

const LEADER_ID = /^[0-9a-f]{32}$/;
export function leaderId(value: string): LeaderId {
  assert(LEADER_ID.test(value), `leader id must be 32 lower-case hex digits: ${value}`);
  return value as LeaderId;
}
/** The member behind a leader id. */
export function leaderMember(id: LeaderId): MemberId {
  return memberId(BigInt(`0x${id.slice(0, 16)}`));
}
