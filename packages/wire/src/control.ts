import { err, isCount, isPlain, KvError, ok, type Plain, type Result } from '@kvorum/base';

/**
 * The control methods of the native protocol ([5, id, method, params] → [105, id, error, result])
 * as plain data: ids of 64 bits are 16 lower-case hex digits, counters are numbers, absent is a
 * missing field (or null). A client checks every answer here, so that a newer or broken member can
 * never put an `undefined` into a program.
 *
 * | method | params | result |
 * |---|---|---|
 * | `status` | none | {@link MemberStatus} of the asked member |
 * | `members` | none | {@link MemberInfo}[] |
 * | `shards` | none | {@link ShardInfo}[], data shards first in numeric order, then `meta` |
 * | `transfer` | {@link TransferParams} | `{ holdMs }` once the target leads: how long it keeps the shard against the even spread; any member forwards it to the shard's leader |
 * | `hash` | {@link HashParams} | {@link ShardHash} of the asked member's replica |
 * | `changeMember` | {@link MemberChangeParams} | {@link MemberChanged}, as soon as the shard map has it |
 * | `moveReplica` | {@link MoveReplicaParams} | `{ mapVersion, changed }` |
 * | `moves` | none | {@link MoveInfo}[]: slots that are moving, with their progress |
 * | `slots` | {@link SlotsParams} | {@link SlotsView}: load and size of ranges of slots, and the busiest slots |
 * | `reshard` | {@link ReshardParams} | {@link MoveInfo}[]: the moves that it has begun, or that are under way |
 * | `health` | none | {@link HealthStatus} of the asked member |
 * | `recover` | {@link RecoverParams} | {@link RecoveryView}: the replicas of a shard, and the recovery that was begun |
 * | `log` | {@link LogParams} | {@link LogPage}: decoded records of a shard's log |
 * | `leaseGrant`, `leaseRevoke`, `leaseKeepAlive`, `leaseTimeToLive`, `leases` | lease-control.ts | lease-control.ts |
 * | `auth` | auth-control.ts | auth-control.ts: users, roles, permissions, tokens |
 */
export const CONTROL_METHODS = [
  'status',
  'members',
  'shards',
  'transfer',
  'hash',
  'health',
  'changeMember',
  'moveReplica',
  'log',
  'moves',
  'reshard',
  'slots',
  'recover',
  'leaseGrant',
  'leaseRevoke',
  'leaseKeepAlive',
  'leaseTimeToLive',
  'leases',
  'auth',
] as const;
export type ControlMethod = (typeof CONTROL_METHODS)[number];

/** One member of the cluster. */
export interface MemberInfo {
  readonly id: string;
  readonly name: string;
  /** Where clients reach it, e.g. `http://127.0.0.1:2379`; the first is preferred. */
  readonly clientUrls: readonly string[];
  /** `host:port` where its peers reach it. */
  readonly peerAddress: string;
  readonly zone?: string;
  /** `draining` or `leaving`; absent while it is a member like the others. */
  readonly state?: string;
  /** False until its first start; absent then. */
  readonly started?: boolean;
}

/** One replica as its member sees it. */
export interface ReplicaInfo {
  readonly shard: string;
  /** `follower`, `pre-candidate`, `candidate`, `leader-elect` or `leader`. */
  readonly role: string;
  readonly term: number;
  /** Member id of the shard's leader as far as this replica knows. */
  readonly leader?: string;
  /** Accepted records, and how many of them are applied. */
  readonly index: number;
  readonly appliedIndex: number;
  readonly revision: number;
  /** What is older is gone; -1 = never compacted. */
  readonly compactRevision: number;
  readonly queuedCommands: number;
  readonly watchers: number;
  readonly logName: string;
  readonly logReachable: boolean;
  readonly storeBytes: number;
  readonly leaderChanges: number;
  /** Hex ids of who votes in the shard now, as this replica's log has it; absent: from an older member. */
  readonly voters?: readonly string[];
  /** Hex ids of who follows without a vote; absent: nobody. */
  readonly learners?: readonly string[];
  /** How far the snapshot is that it installs; absent while it follows its log. */
  readonly installing?: string;
  /** Offset of the log up to which everything is applied and synced on its disk; absent = not known yet. */
  readonly durableOffset?: number;
  /** Why the replica stopped itself (`reason: detail`); absent while it runs. */
  readonly halted?: string;
  /** When the newest scheduled copy of a led shard was made, ISO 8601; absent: none, or led elsewhere. */
  readonly copiedAt?: string;
  /** Why the last attempt to make one failed; absent when it did not. */
  readonly copyError?: string;
}

export interface MemberStatus {
  readonly member: MemberInfo;
  readonly clusterId: string;
  readonly version: string;
  readonly mapVersion: number;
  readonly uptimeMs: number;
  readonly residentBytes: number;
  /** Absent from members of older versions. */
  readonly handOvers?: HandOvers;
  readonly replicas: readonly ReplicaInfo[];
}

/** What a member had to do with slots that changed hands, since it started. */
export interface HandOvers {
  /** Those that it drove. */
  readonly done: number;
  /** For so long nobody served the slots in the longest of them, milliseconds; 0 while there is none. */
  readonly longestMs: number;
  /** Attempts that took too long, or that it gave up before, since they would have: another one follows each. */
  readonly void: number;
  /** Moves that it brought to their end, and those that it took back because somebody stopped them. */
  readonly moved: number;
  readonly aborted: number;
}

export interface ShardInfo {
  readonly shard: string;
  /** Hash slot ranges [fromInclusive, toInclusive]; empty for `meta`. */
  readonly slots: readonly (readonly [number, number])[];
  /** The voters that the shard map wants; who votes now stands in {@link ReplicaInfo}. */
  readonly voters: readonly string[];
  readonly leader?: string;
  /** This and `revision` are 0 where the asked member has no replica of the shard. */
  readonly term: number;
  readonly revision: number;
}

export interface TransferParams {
  readonly shard: string;
  /** Member id (16 hex digits) or member name. */
  readonly member: string;
}

export interface HashParams {
  readonly shard: string;
}

/** Digest of a replica's logical content: equal on every replica of the shard at one index. */
export interface ShardHash {
  readonly shard: string;
  readonly index: number;
  readonly revision: number;
  readonly hash: string;
}

/** What a reshard is to do: `scale` to `shards`; `split` `shard`; `merge` `shard` into `to`; `rebalance`; `abort` what can be. */
export interface ReshardParams {
  readonly action: 'scale' | 'split' | 'merge' | 'rebalance' | 'abort';
  readonly shards?: number;
  readonly shard?: string;
  readonly to?: string;
}

/** Slots on their way from one shard to another. */
export interface MoveInfo {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** How many. */
  readonly slots: number;
  /** `copying`, `switched` or `aborting`. */
  readonly phase: string;
  readonly attempt: number;
  /** Since its present driver took it on; absent while none has. */
  readonly copiedRows?: number;
  readonly copiedBytes?: number;
  /** Revision of the source that the copy has come to, and the source's own. */
  readonly next?: number;
  readonly sourceRevision?: number;
}

/** Which slots are asked about: of one shard or of all; how many of the busiest, 16 by default. */
export interface SlotsParams {
  readonly shard?: string;
  readonly top?: number;
}

/** Slots `from`..`to` of a shard together. Rates are smoothed over about 20 seconds, sizes are those of the last scan. */
export interface SlotInfo {
  readonly shard: string;
  readonly from: number;
  readonly to: number;
  /** Per second. */
  readonly reads: number;
  readonly writes: number;
  /** Bytes of keys and values read and written per second. */
  readonly traffic: number;
  readonly keys: number;
  /** About how many bytes the newest versions of the keys take. */
  readonly bytes: number;
}

export interface SlotsView {
  /** Every range of slots that a shard has, ascending. */
  readonly ranges: readonly SlotInfo[];
  /** The busiest slots, one by one. */
  readonly slots: readonly SlotInfo[];
}

export interface HealthStatus {
  readonly healthy: boolean;
  /** Why not, one sentence each; empty when healthy. */
  readonly reasons: readonly string[];
}

type Check<T> = (value: unknown, path: string) => T;

class Malformed extends Error {}

function fail(path: string, expected: string): never {
  throw new Malformed(`${path} must be ${expected}`);
}

function object(value: unknown, path: string): Plain {
  return isPlain(value) ? value : fail(path, 'an object');
}

const text: Check<string> = (value, path) =>
  typeof value === 'string' ? value : fail(path, 'a string');
const flag: Check<boolean> = (value, path) =>
  typeof value === 'boolean' ? value : fail(path, 'true or false');
const count: Check<number> = (value, path) => {
  const number = typeof value === 'bigint' ? Number(value) : value;
  return isCount(number) ? number : fail(path, 'a whole number');
};

/** -1 stands for "never" in places. */
const integer: Check<number> = (value, path) =>
  Number.isSafeInteger(value) ? (value as number) : fail(path, 'an integer');

function list<T>(check: Check<T>): Check<readonly T[]> {
  return (value, path) =>
    Array.isArray(value)
      ? value.map((item, at) => check(item, `${path}[${at}]`))
      : fail(path, 'an array');
}

/** `{ [name]: value }` when there is one, else nothing: keeps optional fields absent. */
function maybe<K extends string>(
  name: K,
  from: Plain,
  path: string,
): { readonly [P in K]?: string } {
  const value = from[name];
  if (value === undefined || value === null) return {};
  return { [name]: text(value, `${path}.${name}`) } as { readonly [P in K]?: string };
}

const member: Check<MemberInfo> = (value, path) => {
  const from = object(value, path);
  return {
    id: text(from['id'], `${path}.id`),
    name: text(from['name'], `${path}.name`),
    clientUrls: list(text)(from['clientUrls'], `${path}.clientUrls`),
    peerAddress: text(from['peerAddress'], `${path}.peerAddress`),
    ...maybe('zone', from, path),
    ...maybe('state', from, path),
    ...(from['started'] === false ? { started: false } : {}),
  };
};

const ids = (
  name: 'voters' | 'learners',
  from: Readonly<Record<string, unknown>>,
  path: string,
): { readonly voters?: readonly string[]; readonly learners?: readonly string[] } =>
  Array.isArray(from[name]) ? { [name]: list(text)(from[name], `${path}.${name}`) } : {};

const replica: Check<ReplicaInfo> = (value, path) => {
  const from = object(value, path);
  const number = (name: string): number => count(from[name], `${path}.${name}`);
  return {
    shard: text(from['shard'], `${path}.shard`),
    role: text(from['role'], `${path}.role`),
    term: number('term'),
    ...maybe('leader', from, path),
    index: number('index'),
    appliedIndex: number('appliedIndex'),
    revision: number('revision'),
    compactRevision: integer(from['compactRevision'], `${path}.compactRevision`),
    queuedCommands: number('queuedCommands'),
    watchers: number('watchers'),
    logName: text(from['logName'], `${path}.logName`),
    logReachable: flag(from['logReachable'], `${path}.logReachable`),
    storeBytes: number('storeBytes'),
    leaderChanges: number('leaderChanges'),
    ...ids('voters', from, path),
    ...ids('learners', from, path),
    ...maybe('installing', from, path),
    ...(Number.isSafeInteger(from['durableOffset'])
      ? { durableOffset: from['durableOffset'] as number }
      : {}),
    ...maybe('halted', from, path),
    ...maybe('copiedAt', from, path),
    ...maybe('copyError', from, path),
  };
};

const handOvers: Check<HandOvers> = (value, path) => {
  const from = object(value, path);
  return {
    done: count(from['done'], `${path}.done`),
    longestMs: count(from['longestMs'], `${path}.longestMs`),
    void: count(from['void'], `${path}.void`),
    moved: count(from['moved'], `${path}.moved`),
    aborted: count(from['aborted'], `${path}.aborted`),
  };
};

const memberStatus: Check<MemberStatus> = (value, path) => {
  const from = object(value, path);
  return {
    member: member(from['member'], `${path}.member`),
    clusterId: text(from['clusterId'], `${path}.clusterId`),
    version: text(from['version'], `${path}.version`),
    mapVersion: count(from['mapVersion'], `${path}.mapVersion`),
    uptimeMs: count(from['uptimeMs'], `${path}.uptimeMs`),
    residentBytes: count(from['residentBytes'], `${path}.residentBytes`),
    ...(from['handOvers'] === undefined
      ? {}
      : { handOvers: handOvers(from['handOvers'], `${path}.handOvers`) }),
    replicas: list(replica)(from['replicas'], `${path}.replicas`),
  };
};

const slotRange: Check<readonly [number, number]> = (value, path) => {
  if (!Array.isArray(value) || value.length !== 2) return fail(path, '[from, to]');
  return [count(value[0], `${path}[0]`), count(value[1], `${path}[1]`)];
};

const shardInfo: Check<ShardInfo> = (value, path) => {
  const from = object(value, path);
  return {
    shard: text(from['shard'], `${path}.shard`),
    slots: list(slotRange)(from['slots'], `${path}.slots`),
    voters: list(text)(from['voters'], `${path}.voters`),
    ...maybe('leader', from, path),
    term: count(from['term'], `${path}.term`),
    revision: count(from['revision'], `${path}.revision`),
  };
};

const shardHash: Check<ShardHash> = (value, path) => {
  const from = object(value, path);
  return {
    shard: text(from['shard'], `${path}.shard`),
    index: count(from['index'], `${path}.index`),
    revision: count(from['revision'], `${path}.revision`),
    hash: text(from['hash'], `${path}.hash`),
  };
};

const health: Check<HealthStatus> = (value, path) => {
  const from = object(value, path);
  return {
    healthy: flag(from['healthy'], `${path}.healthy`),
    reasons: list(text)(from['reasons'], `${path}.reasons`),
  };
};

const transferParams: Check<TransferParams> = (value, path) => {
  const from = object(value, path);
  return {
    shard: text(from['shard'], `${path}.shard`),
    member: text(from['member'], `${path}.member`),
  };
};

const hashParams: Check<HashParams> = (value, path) => ({
  shard: text(object(value, path)['shard'], `${path}.shard`),
});

const ACTIONS = ['scale', 'split', 'merge', 'rebalance', 'abort'] as const;

const reshardParams: Check<ReshardParams> = (value, path) => {
  const from = object(value, path);
  const action = ACTIONS.find((known) => known === from['action']);
  if (action === undefined) return fail(`${path}.action`, `one of ${ACTIONS.join(', ')}`);
  const shards = from['shards'];
  return {
    action,
    ...(shards === undefined || shards === null ? {} : { shards: count(shards, `${path}.shards`) }),
    ...maybe('shard', from, path),
    ...maybe('to', from, path),
  };
};

const MOVE_COUNTS = ['copiedRows', 'copiedBytes', 'next', 'sourceRevision'] as const;

const moveInfo: Check<MoveInfo> = (value, path) => {
  const from = object(value, path);
  const known = MOVE_COUNTS.filter((name) => from[name] !== undefined && from[name] !== null);
  return {
    id: text(from['id'], `${path}.id`),
    from: text(from['from'], `${path}.from`),
    to: text(from['to'], `${path}.to`),
    slots: count(from['slots'], `${path}.slots`),
    phase: text(from['phase'], `${path}.phase`),
    attempt: count(from['attempt'], `${path}.attempt`),
    ...Object.fromEntries(known.map((name) => [name, count(from[name], `${path}.${name}`)])),
  };
};

const SLOT_AMOUNTS = ['reads', 'writes', 'traffic', 'keys', 'bytes'] as const;

const amount: Check<number> = (value, path) =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0
    ? value
    : fail(path, 'a number of at least 0');

const slotInfo: Check<SlotInfo> = (value, path) => {
  const from = object(value, path);
  const [reads, writes, traffic, keys, bytes] = SLOT_AMOUNTS.map((name) =>
    amount(from[name], `${path}.${name}`),
  ) as [number, number, number, number, number];
  return {
    shard: text(from['shard'], `${path}.shard`),
    from: count(from['from'], `${path}.from`),
    to: count(from['to'], `${path}.to`),
    ...{ reads, writes, traffic, keys, bytes },
  };
};

const slotsView: Check<SlotsView> = (value, path) => {
  const from = object(value, path);
  return {
    ranges: list(slotInfo)(from['ranges'], `${path}.ranges`),
    slots: list(slotInfo)(from['slots'], `${path}.slots`),
  };
};

const slotsParams: Check<SlotsParams> = (value, path) => {
  const from = object(value ?? {}, path);
  const { top } = from as { readonly top?: unknown };
  return {
    ...maybe('shard', from, path),
    ...(top === undefined || top === null ? {} : { top: count(top, `${path}.top`) }),
  };
};

function parse<T>(check: Check<T>, value: unknown, path: string): Result<T, KvError> {
  try {
    return ok(check(value, path));
  } catch (error) {
    if (error instanceof Malformed) return err(new KvError('KV_MALFORMED', error.message));
    throw error;
  }
}

/** Each checks one answer or parameter object. Errors: KV_MALFORMED naming the field. */
export function parseMemberStatus(value: unknown): Result<MemberStatus, KvError> {
  return parse(memberStatus, value, 'status');
}
export function parseMembers(value: unknown): Result<readonly MemberInfo[], KvError> {
  return parse(list(member), value, 'members');
}
export function parseShards(value: unknown): Result<readonly ShardInfo[], KvError> {
  return parse(list(shardInfo), value, 'shards');
}
export function parseShardHash(value: unknown): Result<ShardHash, KvError> {
  return parse(shardHash, value, 'hash');
}
export function parseHealth(value: unknown): Result<HealthStatus, KvError> {
  return parse(health, value, 'health');
}
export function parseMoves(value: unknown): Result<readonly MoveInfo[], KvError> {
  return parse(list(moveInfo), value, 'moves');
}
export function parseSlotsView(value: unknown): Result<SlotsView, KvError> {
  return parse(slotsView, value, 'slots');
}
export function parseSlotsParams(value: unknown): Result<SlotsParams, KvError> {
  return parse(slotsParams, value, 'params');
}
export function parseReshardParams(value: unknown): Result<ReshardParams, KvError> {
  return parse(reshardParams, value, 'params');
}
export function parseTransferParams(value: unknown): Result<TransferParams, KvError> {
  return parse(transferParams, value, 'params');
}
export function parseHashParams(value: unknown): Result<HashParams, KvError> {
  return parse(hashParams, value, 'params');
}
