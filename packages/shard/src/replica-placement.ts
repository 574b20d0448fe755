import { assert, META_SHARD, type ShardId } from '@kvorum/base';
import type { MemberEntry, ShardEntry, ShardMap } from './shard-map.ts';

/** More voters make every election and read round dearer and nothing safer. */
const VOTERS_MAX = 7;
/** The meta group decides for all; every member that does not vote in it follows it. */
const META_VOTERS_MAX = 5;

/** How many replicas each member has of the data shards and of all. */
type Loads = Map<string, number>;

const isActive = (member: MemberEntry): boolean => (member.state ?? 'active') === 'active';

/** Members that may keep a replica; one that leaves may not. */
const mayKeep = (member: MemberEntry): boolean => member.state !== 'leaving';

/** Voters wanted of a shard as the map stands. */
export function replicaCount(map: ShardMap, shard: ShardId): number {
  const present = map.members.filter(mayKeep).length;
  if (shard === META_SHARD) return Math.min(present, META_VOTERS_MAX);
  const wanted = map.replicas === undefined || map.replicas === 0 ? present : map.replicas;
  return Math.min(wanted, present, VOTERS_MAX);
}

/**
 * The map with the replicas of every shard placed anew: as many as wanted, none on a member that leaves, none on one that is drained
 * while there are enough others, in different zones as far as there are enough, and spread evenly. What need not move stays, and the
 * first voter (the preferred leader) with it. A fixed point: placing twice changes nothing more.
 */
export function placeReplicas(map: ShardMap): ShardMap {
  const planner = new Planner(map);
  for (const { id } of map.shards) {
    planner.fill(id);
    planner.spread(id);
  }
  planner.level();
  return {
    ...map,
    shards: map.shards.map(
      (entry): ShardEntry => ({ ...entry, voters: planner.votersOf(entry.id) }),
    ),
  };
}

class Planner {
  readonly #map: ShardMap;
  readonly #members: ReadonlyMap<string, MemberEntry>;
  readonly #voters = new Map<ShardId, string[]>();
  readonly #loads: Loads = new Map();

  constructor(map: ShardMap) {
    this.#map = map;
    this.#members = new Map(map.members.map((member) => [member.id, member]));
    for (const { id } of map.members) this.#loads.set(id, 0);
    for (const { id, voters } of map.shards) {
      this.#voters.set(id, [...voters]);
      for (const voter of voters) this.#count(voter, 1);
    }
  }

  votersOf(shard: ShardId): readonly string[] {
    const voters = this.#voters.get(shard);
    assert(voters !== undefined && voters.length > 0, `shard ${shard} was left without voters`);
    return voters;
  }

  /** Drops who may not stay, then adds or drops until the count is right. */
  fill(shard: ShardId): void {
    const wanted = replicaCount(this.#map, shard);
    const active = this.#map.members.filter(isActive).length;
    const voters = this.#list(shard);
    for (const voter of [...voters]) {
      const member = this.#members.get(voter);
      const goes = member === undefined || !mayKeep(member);
      const isSpare = member !== undefined && !isActive(member) && active >= wanted;
      if (goes || isSpare) this.#drop(shard, voter);
    }
    while (voters.length > wanted) this.#drop(shard, this.#mostCrowded(voters));
    while (voters.length < wanted) {
      const added = this.#bestFor(voters, isActive) ?? this.#bestFor(voters, mayKeep);
      if (added === undefined) break;
      voters.push(added);
      this.#count(added, 1);
    }
  }

  /** Replaces voters that share a zone by members of zones that the shard is not in. */
  spread(shard: ShardId): void {
    const voters = this.#list(shard);
    while (this.#crowd(voters) > 0) {
      const added = this.#bestFor(voters, isActive);
      const zones = voters.map((voter) => this.#zoneOf(voter));
      if (added === undefined || zones.includes(this.#zoneOf(added))) return;
      const gone = this.#mostCrowded(voters);
      voters.splice(voters.indexOf(gone), 1, added);
      this.#count(gone, -1);
      this.#count(added, 1);
    }
  }

  /** Moves replicas from the member with the most to the one with the fewest, as long as no zone gets a second one by it. */
  level(): void {
    while (this.#levelOnce()) {
      // Every move lowers the sum of the squared loads: this ends.
    }
  }

  #levelOnce(): boolean {
    const active = this.#map.members.filter(isActive);
    const byLoad = [...active].sort((a, b) => this.#load(b.id) - this.#load(a.id));
    for (const from of byLoad) {
      for (const to of [...byLoad].reverse()) {
        if (this.#load(from.id) - this.#load(to.id) < 2) break;
        const shard = this.#movable(from.id, to);
        if (shard === undefined) continue;
        const voters = this.#list(shard);
        voters.splice(voters.indexOf(from.id), 1, to.id);
        this.#count(from.id, -1);
        this.#count(to.id, 1);
        return true;
      }
    }
    return false;
  }

  #movable(from: string, to: MemberEntry): ShardId | undefined {
    for (const [shard, voters] of this.#voters) {
      if (!voters.includes(from) || voters.includes(to.id)) continue;
      const others = voters.filter((voter) => voter !== from);
      const zones = (ids: readonly string[]): number => this.#crowd(ids);
      if (zones([...others, to.id]) <= zones(voters)) return shard;
    }
    return undefined;
  }

  /** How many replicas share a zone with an earlier one. A member without a zone is one of its own. */
  #crowd(voters: readonly string[]): number {
    return voters.length - new Set(voters.map((voter) => this.#zoneOf(voter))).size;
  }

  #zoneOf(member: string): string {
    const zone = this.#members.get(member)?.zone;
    return zone === undefined ? `member ${member}` : `zone ${zone}`;
  }

  /** The least loaded member in a zone that the shard is not in yet, else the least loaded one. */
  #bestFor(
    voters: readonly string[],
    mayTake: (member: MemberEntry) => boolean,
  ): string | undefined {
    const zones = new Set(voters.map((voter) => this.#zoneOf(voter)));
    const rank = ({ id }: MemberEntry): number =>
      this.#load(id) + (zones.has(this.#zoneOf(id)) ? this.#map.shards.length + 1 : 0);
    const free = this.#map.members.filter((one) => mayTake(one) && !voters.includes(one.id));
    return [...free].sort((a, b) => rank(a) - rank(b))[0]?.id;
  }

  /** Who goes when there are too many: of a zone that is there twice, else of the most loaded member; the last one of equals. */
  #mostCrowded(voters: readonly string[]): string {
    const rank = (voter: string): number => {
      const rest = voters.filter((one) => one !== voter);
      const relief = this.#crowd(voters) - this.#crowd(rest);
      return this.#load(voter) + relief * (this.#map.shards.length + 1);
    };
    const worst = [...voters].reverse().sort((a, b) => rank(b) - rank(a))[0];
    assert(worst !== undefined, 'nobody to drop');
    return worst;
  }

  #drop(shard: ShardId, voter: string): void {
    const voters = this.#list(shard);
    voters.splice(voters.indexOf(voter), 1);
    this.#count(voter, -1);
  }

  #list(shard: ShardId): string[] {
    const voters = this.#voters.get(shard);
    assert(voters !== undefined, `no shard ${shard}`);
    return voters;
  }

  #load(member: string): number {
    return this.#loads.get(member) ?? 0;
  }

  #count(member: string, by: number): void {
    this.#loads.set(member, this.#load(member) + by);
  }
}
