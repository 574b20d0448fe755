import {
  err,
  isPlain,
  isShardId,
  META_SHARD,
  ok,
  type Plain,
  type Result,
  type ShardId,
  utf8,
} from '@kvorum/base';
import { type RoutingRule, SLOT_COUNT } from './routing-part.ts';

/** Key of the shard map in the meta shard; its value is JSON. */
export const SHARD_MAP_KEY: Uint8Array = utf8('shard-map');

/** Slots `from`..`to`, both inclusive. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly shard: ShardId;
}

/** How a generation of a shard's log above 0 begins; never changes within the generation. */
export interface GenesisEntry {
  /** Id of the member whose replica's state it stands on. */
  readonly member: string;
  /** So many accepted records that state held when an operator decided. */
  readonly index: number;
  /** The generation's first revision is at least this one. */
  readonly revision: number;
}

export interface ShardEntry {
  readonly id: ShardId;
  /** 32 lower-case hex digits; stands in every record of the shard's log. */
  readonly uid: string;
  /** Generation of the shard's log. */
  readonly generation: number;
  /**
   * The voters wanted, as member ids (16 lower-case hex digits); the order is the preference for leadership, best first. Who votes
   * now stands in the `config` records of the shard's own log: its leader drives those towards this.
   */
  readonly voters: readonly string[];
  /**
   * Who voted before the first `config` record of the log's generation, member ids; may name members that are gone. Absent: `voters`,
   * which have never changed then (of `meta`: all members of the map).
   */
  readonly initialVoters?: readonly string[];
  /** Of a generation above 0. */
  readonly genesis?: GenesisEntry;
  /** Made to take slots over: it has none until it adopts them. Never changes. */
  readonly startsEmpty?: boolean;
}

/**
 * `copying`: the slots are served by `from`, and `to` copies their history. `switched`: `to` has all of it and serves them; `from`
 * drops its rows. `aborting`: `from` goes on serving, `to` drops what it has copied. A move that is done is taken out of the map.
 */
export type MovePhase = 'copying' | 'switched' | 'aborting';

/** Slots on their way from one shard to another. */
export interface SlotMove {
  /** 16 lower-case hex digits. */
  readonly id: string;
  readonly from: ShardId;
  readonly to: ShardId;
  /** [from, to], both inclusive, ascending. */
  readonly slots: readonly (readonly [from: number, to: number])[];
  readonly phase: MovePhase;
  /** From 1; raised before slots that were frozen for a hand-over are served by `from` again. */
  readonly attempt: number;
}

/**
 * `draining`: gives its replicas and leaderships away, and gets none. `leaving`: the same, and it is taken out of the map once no
 * shard has it any more.
 */
export type MemberState = 'active' | 'draining' | 'leaving';

export interface MemberEntry {
  /** 16 lower-case hex digits. */
  readonly id: string;
  readonly name: string;
  /** host:port for other members. */
  readonly peer: string;
  /** Address for clients. */
  readonly client: string;
  /** Where its machine stands: the replicas of a shard are spread over different zones. */
  readonly zone?: string;
  /** Identity of its disk, 32 lower-case hex digits, registered at its first start. With another disk it is not this member. */
  readonly diskId?: string;
  /** Absent: `active`. */
  readonly state?: MemberState;
  /** Given up by an operator: no log keeps records for its disk any more. */
  readonly logExcluded?: boolean;
  /** Number of shards in its configuration at its last start: another one there is a wish to scale. */
  readonly shards?: number;
}

/** Where every key lives. Plain data: the same shape in memory, in JSON and in msgpack. */
export interface ShardMap {
  /** Grows with every change; the higher one is newer. */
  readonly version: number;
  /** 16 lower-case hex digits. */
  readonly clusterId: string;
  /** Ascending; covers 0..16383 exactly once. */
  readonly slots: readonly SlotRange[];
  /** May hold `meta` and shards without slots (before or after a move). */
  readonly shards: readonly ShardEntry[];
  readonly members: readonly MemberEntry[];
  readonly rules: readonly RoutingRule[];
  /** Voters wanted of every data shard; absent or 0: one on every member. */
  readonly replicas?: number;
  /** In the order in which they were begun; absent: none. */
  readonly moves?: readonly SlotMove[];
  /** Shards made so far: the number of the next one, since a log is never used twice. Absent: those of the map. */
  readonly shardsMade?: number;
}

const ID = /^[0-9a-f]{16}$/;
const UID = /^[0-9a-f]{32}$/;

class Malformed extends Error {}

function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Malformed(message);
}

function object(value: unknown, path: string): Plain {
  check(isPlain(value), `${path} must be an object`);
  return value;
}

function list<T>(value: unknown, path: string, parse: (item: unknown, path: string) => T): T[] {
  check(Array.isArray(value), `${path} must be an array`);
  return value.map((item: unknown, i) => parse(item, `${path}[${i}]`));
}

function text(value: unknown, path: string, pattern?: RegExp, form?: string): string {
  check(typeof value === 'string', `${path} must be a text`);
  check(pattern === undefined || pattern.test(value), `${path} must be ${form}: "${value}"`);
  return value;
}

function integer(value: unknown, path: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
  const inRange =
    Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
  check(inRange, `${path} must be an integer in ${min}..${max}: ${String(value)}`);
  return value as number;
}

const memberIdText = (value: unknown, path: string): string =>
  text(value, path, ID, '16 lower-case hex digits');

function shardIdText(value: unknown, path: string): ShardId {
  check(isShardId(value), `${path} must be a shard id ("meta" or a decimal number)`);
  return value;
}

function slotRange(value: unknown, path: string): SlotRange {
  const from = object(value, path);
  return {
    from: integer(from['from'], `${path}.from`, 0, SLOT_COUNT - 1),
    to: integer(from['to'], `${path}.to`, 0, SLOT_COUNT - 1),
    shard: shardIdText(from['shard'], `${path}.shard`),
  };
}

/** Members of the version before do not write these fields. */
const isAbsent = (value: unknown): boolean => value === undefined || value === null;

function memberIds(value: unknown, path: string): string[] {
  const ids = list(value, path, memberIdText);
  check(ids.length > 0, `${path} must name at least one member`);
  check(new Set(ids).size === ids.length, `${path} names a member twice`);
  return ids;
}

function genesisEntry(value: unknown, path: string): GenesisEntry {
  const from = object(value, path);
  return {
    member: memberIdText(from['member'], `${path}.member`),
    index: integer(from['index'], `${path}.index`, 0),
    revision: integer(from['revision'], `${path}.revision`, 0),
  };
}

function shardEntry(value: unknown, path: string): ShardEntry {
  const from = object(value, path);
  const voters = memberIds(from['voters'], `${path}.voters`);
  const initial = from['initialVoters'];
  return {
    id: shardIdText(from['id'], `${path}.id`),
    uid: text(from['uid'], `${path}.uid`, UID, '32 lower-case hex digits'),
    generation: integer(from['generation'], `${path}.generation`, 0),
    voters,
    ...(isAbsent(initial) ? {} : { initialVoters: memberIds(initial, `${path}.initialVoters`) }),
    ...(isAbsent(from['genesis'])
      ? {}
      : { genesis: genesisEntry(from['genesis'], `${path}.genesis`) }),
    ...(from['startsEmpty'] === true ? { startsEmpty: true } : {}),
  };
}

const PHASES: readonly MovePhase[] = ['copying', 'switched', 'aborting'];

function slotSpan(value: unknown, path: string): readonly [number, number] {
  check(Array.isArray(value) && value.length === 2, `${path} must be a pair of slots`);
  const pair: readonly unknown[] = value;
  const [first, last] = pair;
  const from = integer(first, `${path}[0]`, 0, SLOT_COUNT - 1);
  return [from, integer(last, `${path}[1]`, from, SLOT_COUNT - 1)];
}

function slotMove(value: unknown, path: string): SlotMove {
  const from = object(value, path);
  const phase = PHASES.find((known) => known === from['phase']);
  check(
    phase !== undefined,
    `${path}.phase must be one of ${PHASES.join(', ')}: ${String(from['phase'])}`,
  );
  return {
    id: text(from['id'], `${path}.id`, ID, '16 lower-case hex digits'),
    from: shardIdText(from['from'], `${path}.from`),
    to: shardIdText(from['to'], `${path}.to`),
    slots: list(from['slots'], `${path}.slots`, slotSpan),
    phase,
    attempt: integer(from['attempt'], `${path}.attempt`, 1),
  };
}

const MEMBER_STATES: readonly MemberState[] = ['active', 'draining', 'leaving'];

function memberState(value: unknown, path: string): MemberState {
  const state = MEMBER_STATES.find((known) => known === value);
  check(
    state !== undefined,
    `${path} must be one of ${MEMBER_STATES.join(', ')}: ${String(value)}`,
  );
  return state;
}

function memberEntry(value: unknown, path: string): MemberEntry {
  const from = object(value, path);
  return {
    id: memberIdText(from['id'], `${path}.id`),
    name: text(from['name'], `${path}.name`),
    peer: text(from['peer'], `${path}.peer`),
    client: text(from['client'], `${path}.client`),
    ...(isAbsent(from['zone']) ? {} : { zone: text(from['zone'], `${path}.zone`) }),
    ...(isAbsent(from['diskId'])
      ? {}
      : { diskId: text(from['diskId'], `${path}.diskId`, UID, '32 lower-case hex digits') }),
    ...(isAbsent(from['state']) ? {} : { state: memberState(from['state'], `${path}.state`) }),
    ...(from['logExcluded'] === true ? { logExcluded: true } : {}),
    ...(isAbsent(from['shards']) ? {} : { shards: integer(from['shards'], `${path}.shards`, 1) }),
  };
}

function routingRule(value: unknown, path: string): RoutingRule {
  const from = object(value, path);
  const prefix = text(from['prefix'], `${path}.prefix`);
  check(prefix !== '', `${path}.prefix must not be empty`);
  return { prefix, depth: integer(from['depth'], `${path}.depth`, 1, 64) };
}

function checkCoverage(slots: readonly SlotRange[]): void {
  let next = 0;
  for (const { from, to, shard } of slots) {
    check(from <= to, `slots ${from}..${to} of shard ${shard} run backwards`);
    check(from >= next, `slot ${from} belongs to two ranges`);
    check(from === next, `slots ${next}..${from - 1} belong to no shard`);
    next = to + 1;
  }
  check(next === SLOT_COUNT, `slots ${next}..${SLOT_COUNT - 1} belong to no shard`);
}

function checkUnique(values: readonly string[], what: string): void {
  const seen = new Set<string>();
  for (const value of values) {
    check(!seen.has(value), `${what} ${value} appears twice`);
    seen.add(value);
  }
}

function checkReferences(map: ShardMap): void {
  checkUnique(
    map.shards.map(({ id }) => id),
    'shard',
  );
  checkUnique(
    map.shards.map(({ uid }) => uid),
    'shard uid',
  );
  checkUnique(
    map.members.map(({ id }) => id),
    'member',
  );
  // One that is replaced leaves while its successor has its name already.
  checkUnique(
    map.members.filter(({ state }) => state !== 'leaving').map(({ name }) => name),
    'the member name',
  );
  checkUnique(
    map.rules.map(({ prefix }) => prefix),
    'the rule for prefix',
  );
  const shards = new Set(map.shards.map(({ id }) => id));
  for (const { shard } of map.slots) {
    check(shard !== META_SHARD, 'the meta shard holds no slots');
    check(shards.has(shard), `slots belong to shard ${shard}, which is not in shards`);
  }
  const members = new Set(map.members.map(({ id }) => id));
  for (const { id, voters } of map.shards) {
    for (const voter of voters) {
      check(members.has(voter), `shard ${id} has the voter ${voter}, which is not in members`);
    }
  }
}

/**
 * A slot is in one move at most and with the shard that its phase says. No shard takes slots while it gives slots away: what it
 * copies would stand behind the place that its own rows have been copied up to.
 */
function checkMoves(map: ShardMap): void {
  const { moves = [] } = map;
  checkUnique(
    moves.map(({ id }) => id),
    'the move',
  );
  const shards = new Set(map.shards.map(({ id }) => id));
  const givers = new Set(moves.map(({ from }) => from));
  const taken = new Uint8Array(SLOT_COUNT);
  for (const { id, from, to, slots, phase } of moves) {
    check(shards.has(from) && shards.has(to), `move ${id} names a shard that is not in shards`);
    check(!givers.has(to), `shard ${to} takes slots and gives slots away`);
    const owner = phase === 'switched' ? to : from;
    const owned = new Uint8Array(SLOT_COUNT);
    for (const range of map.slots) {
      if (range.shard === owner) owned.fill(1, range.from, range.to + 1);
    }
    const claims = { id, owner, owned, taken };
    for (const span of slots) claimSlots(span, claims);
  }
}

/** Marks the slots of one move as taken. It may be of thousands of slots: no text is made for one that is right. */
function claimSlots(
  [first, last]: readonly [number, number],
  claims: { id: string; owner: ShardId; owned: Uint8Array; taken: Uint8Array },
): void {
  const { id, owner, owned, taken } = claims;
  for (let slot = first; slot <= last; slot += 1) {
    if (taken[slot] !== 0) check(false, `slot ${slot} is in two moves`);
    if (owned[slot] !== 1) check(false, `slot ${slot} of the move ${id} is not in shard ${owner}`);
    taken[slot] = 1;
  }
}

/** Checks a shard map from outside (meta log, JSON, a frame). The error says what is wrong and where. */
export function parseShardMap(value: unknown): Result<ShardMap, string> {
  try {
    const from = object(value, 'shardMap');
    const map: ShardMap = {
      version: integer(from['version'], 'shardMap.version', 0),
      clusterId: memberIdText(from['clusterId'], 'shardMap.clusterId'),
      slots: list(from['slots'], 'shardMap.slots', slotRange).sort((a, b) => a.from - b.from),
      shards: list(from['shards'], 'shardMap.shards', shardEntry),
      members: list(from['members'], 'shardMap.members', memberEntry),
      rules: list(from['rules'], 'shardMap.rules', routingRule),
      ...(isAbsent(from['replicas'])
        ? {}
        : { replicas: integer(from['replicas'], 'shardMap.replicas', 0) }),
      ...(isAbsent(from['moves'])
        ? {}
        : { moves: list(from['moves'], 'shardMap.moves', slotMove) }),
      ...(isAbsent(from['shardsMade'])
        ? {}
        : { shardsMade: integer(from['shardsMade'], 'shardMap.shardsMade', 0) }),
    };
    checkCoverage(map.slots);
    checkReferences(map);
    checkMoves(map);
    return ok(map);
  } catch (error) {
    if (error instanceof Malformed) return err(error.message);
    throw error;
  }
}
