import { KvError, META_SHARD, type ShardId } from '@kvorum/base';
import { placeReplicas } from './replica-placement.ts';
import type { MemberEntry, ShardMap } from './shard-map.ts';
import { shardEntryOf } from './voters.ts';

/** An edit of the members; the ids of new ones come from whoever asks, so that an edit can be repeated. */
export type MemberChange =
  | { readonly kind: 'add'; readonly member: MemberEntry }
  | { readonly kind: 'remove'; readonly member: string }
  /** `by`: its successor, a member of the map or a new one, which takes over exactly its replicas. */
  | { readonly kind: 'replace'; readonly member: string; readonly by: MemberEntry }
  | {
      readonly kind: 'update';
      readonly member: string;
      readonly peer?: string;
      readonly client?: string;
      readonly zone?: string;
    }
  | { readonly kind: 'drain'; readonly member: string; readonly cancel: boolean }
  | { readonly kind: 'promote'; readonly member: string }
  /** No log keeps records for its disk any more; `cancel`: they do again. */
  | { readonly kind: 'exclude'; readonly member: string; readonly cancel: boolean };

const refuse = (text: string, hint?: string): KvError =>
  new KvError('KV_INVALID_ARGUMENT', text, hint === undefined ? {} : { details: { hint } });

/** The member meant by a name or an id (16 hex digits); of two of one name the one that does not leave. */
export function memberNamed(map: ShardMap, nameOrId: string): MemberEntry | undefined {
  const isMeant = ({ id, name }: MemberEntry): boolean => name === nameOrId || id === nameOrId;
  const found = map.members.filter(isMeant);
  return found.find(({ state }) => state !== 'leaving') ?? found[0];
}

/** The same for a member that must be there. Errors: KV_NOT_FOUND that names those that are. */
export function knownMember(map: ShardMap, nameOrId: string): MemberEntry {
  const member = memberNamed(map, nameOrId);
  if (member !== undefined) return member;
  const names = map.members.map(({ name }) => name).join(', ');
  throw new KvError('KV_NOT_FOUND', `no member ${nameOrId} (members: ${names})`, {
    details: { hint: 'kvctl member list' },
  });
}

function staying(map: ShardMap, nameOrId: string): MemberEntry {
  const member = knownMember(map, nameOrId);
  if (member.state === 'leaving') throw refuse(`member ${member.name} is being removed already`);
  return member;
}

const replaced = (map: ShardMap, member: MemberEntry): ShardMap => ({
  ...map,
  members: map.members.map((one) => (one.id === member.id ? member : one)),
});

/**
 * The map after an edit of the members, with the replicas placed accordingly. Undefined: it is so already.
 *
 * Errors: KV_NOT_FOUND for a member that does not exist; KV_INVALID_ARGUMENT for an edit that makes no sense, with the way out.
 */
export function changeMembers(map: ShardMap, change: MemberChange): ShardMap | undefined {
  switch (change.kind) {
    case 'add':
      return add(map, change.member);
    case 'remove':
      return remove(map, change.member);
    case 'replace':
      return replace(map, change);
    case 'update':
      return update(map, change);
    case 'drain':
      return drain(map, change);
    case 'promote':
      return promote(map, change.member);
    case 'exclude':
      return exclude(map, change);
  }
}

function checkFree(map: ShardMap, member: MemberEntry): void {
  for (const other of map.members) {
    if (other.state === 'leaving' || other.id === member.id) continue;
    if (other.name === member.name) throw refuse(`there is a member ${member.name} already`);
    if (other.peer === member.peer) {
      throw refuse(`member ${other.name} has the peer address ${member.peer} already`);
    }
    if (other.client === member.client) {
      throw refuse(`member ${other.name} has the client address ${member.client} already`);
    }
  }
}

function add(map: ShardMap, member: MemberEntry): ShardMap | undefined {
  if (map.members.some(({ id }) => id === member.id)) return undefined;
  checkFree(map, member);
  return placeReplicas({ ...map, members: [...map.members, member] });
}

function remove(map: ShardMap, nameOrId: string): ShardMap | undefined {
  const member = knownMember(map, nameOrId);
  if (member.state === 'leaving') return undefined;
  if (map.members.filter(({ state }) => state !== 'leaving').length === 1) {
    throw refuse(`${member.name} is the last member`, 'add another one first');
  }
  return placeReplicas(replaced(map, { ...member, state: 'leaving' }));
}

function replace(
  map: ShardMap,
  { member: nameOrId, by }: Extract<MemberChange, { kind: 'replace' }>,
): ShardMap | undefined {
  const old = knownMember(map, nameOrId);
  if (old.id === by.id) throw refuse(`${old.name} cannot replace itself`);
  const isKnown = map.members.some(({ id }) => id === by.id);
  if (old.state === 'leaving') {
    if (isKnown) return undefined;
    throw refuse(
      `member ${old.name} is being removed already`,
      'add the new one: kvctl member add',
    );
  }
  const leaving = replaced(map, { ...old, state: 'leaving' });
  if (!isKnown) checkFree(leaving, by);
  const members = isKnown ? leaving.members : [...leaving.members, by];
  const shards = map.shards.map((entry) => {
    if (!entry.voters.includes(old.id) || entry.voters.includes(by.id)) return entry;
    return { ...entry, voters: entry.voters.map((id) => (id === old.id ? by.id : id)) };
  });
  return placeReplicas({ ...leaving, members, shards });
}

function update(
  map: ShardMap,
  change: Extract<MemberChange, { kind: 'update' }>,
): ShardMap | undefined {
  const member = staying(map, change.member);
  const next = {
    ...member,
    peer: change.peer ?? member.peer,
    client: change.client ?? member.client,
    ...(change.zone === undefined ? {} : { zone: change.zone }),
  };
  if (next.peer === member.peer && next.client === member.client && next.zone === member.zone) {
    return undefined;
  }
  checkFree(map, next);
  const changed = replaced(map, next);
  return next.zone === member.zone ? changed : placeReplicas(changed);
}

function drain(
  map: ShardMap,
  { member: nameOrId, cancel }: Extract<MemberChange, { kind: 'drain' }>,
): ShardMap | undefined {
  const member = staying(map, nameOrId);
  const state = cancel ? 'active' : 'draining';
  if ((member.state ?? 'active') === state) return undefined;
  const others = map.members.filter((one) => one.id !== member.id);
  if (!cancel && others.every((one) => (one.state ?? 'active') !== 'active')) {
    throw refuse(`no other member could take over what ${member.name} has`, 'add one first');
  }
  return placeReplicas(replaced(map, { ...member, state }));
}

function exclude(
  map: ShardMap,
  { member: nameOrId, cancel }: Extract<MemberChange, { kind: 'exclude' }>,
): ShardMap | undefined {
  const { logExcluded, ...member } = knownMember(map, nameOrId);
  if ((logExcluded === true) === !cancel) return undefined;
  if (cancel) return replaced(map, member);
  const next = replaced(map, { ...member, logExcluded: true });
  const isExcluded = (id: string): boolean =>
    next.members.some((one) => one.id === id && one.logExcluded === true);
  const bare = map.shards.find(({ voters }) => {
    const counted = voters.filter((id) => !isExcluded(id)).length;
    return voters.includes(member.id) && counted * 2 <= voters.length;
  });
  if (bare === undefined) return next;
  throw refuse(
    `without ${member.name} no majority of the voters of shard ${bare.id} would keep its log`,
    'let another member count again (kvctl log exclude MEMBER --cancel), or replace one (kvctl member replace)',
  );
}

/** A voter of the meta group by hand, where the placement alone would leave it a learner. */
function promote(map: ShardMap, nameOrId: string): ShardMap | undefined {
  const member = staying(map, nameOrId);
  const meta = shardEntryOf(map, META_SHARD);
  if (meta === undefined || meta.voters.includes(member.id)) return undefined;
  const shards = map.shards.map((entry) =>
    entry.id === META_SHARD ? { ...entry, voters: [...entry.voters, member.id] } : entry,
  );
  return { ...map, shards };
}

/**
 * The map with one replica of a shard moved. Undefined: it is so already. Errors: KV_NOT_FOUND, KV_INVALID_ARGUMENT.
 */
export function moveReplica(
  map: ShardMap,
  { shard, from, to }: { readonly shard: ShardId; readonly from: string; readonly to: string },
): ShardMap | undefined {
  const entry = shardEntryOf(map, shard);
  if (entry === undefined) throw new KvError('KV_NOT_FOUND', `no shard ${shard}`);
  const [source, target] = [knownMember(map, from), staying(map, to)];
  const names = entry.voters.map((id) => memberNamed(map, id)?.name ?? id).join(', ');
  const has = (member: MemberEntry): boolean => entry.voters.includes(member.id);
  if (!has(source)) {
    if (has(target)) return undefined;
    throw refuse(`shard ${shard} has no replica on ${source.name} (it is on ${names})`);
  }
  if (has(target)) throw refuse(`shard ${shard} has a replica on ${target.name} already`);
  const voters = entry.voters.map((id) => (id === source.id ? target.id : id));
  return {
    ...map,
    shards: map.shards.map((one) => (one.id === shard ? { ...one, voters } : one)),
  };
}

/** Registers the disk of a member at its first start. Undefined: it is registered. Errors: KV_DATA_DIR for another disk. */
export function registerDisk(
  map: ShardMap,
  { member: id, diskId, force }: { member: string; diskId: string; force: boolean },
): ShardMap | undefined {
  const member = map.members.find((one) => one.id === id);
  if (member === undefined || member.diskId === diskId) return undefined;
  if (member.diskId !== undefined && !force) throw wrongDisk(member);
  return replaced(map, { ...member, diskId });
}

/** Why a member with another disk than the registered one may not take part. */
export function wrongDisk(member: MemberEntry): KvError {
  return new KvError(
    'KV_DATA_DIR',
    `member ${member.name} (${member.id}) has another disk than the one registered (${member.diskId ?? 'none'}): its votes are lost, so it may not vote as before`,
    { details: { hint: `kvctl member replace ${member.name}` } },
  );
}

/** What the removal of a member leaves of each shard's voters, for people to decide by. */
export interface QuorumPreview {
  readonly shard: ShardId;
  readonly voters: readonly string[];
  readonly alive: readonly string[];
  readonly quorum: number;
  readonly safe: boolean;
}

/** Who votes where after `after` has come about, and whether enough of them are alive. */
export function previewQuorums(
  after: ShardMap,
  alive: ReadonlySet<string>,
): readonly QuorumPreview[] {
  return after.shards.map(({ id, voters }) => {
    const living = voters.filter((voter) => alive.has(voter));
    const quorum = Math.floor(voters.length / 2) + 1;
    return { shard: id, voters, alive: living, quorum, safe: living.length >= quorum };
  });
}
