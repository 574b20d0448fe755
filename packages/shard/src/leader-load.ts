import { META_SHARD, type ShardId } from '@kvorum/base';
import { leaderTargets } from './leader-placement.ts';
import type { ShardEntry, ShardMap } from './shard-map.ts';

/** A member is relieved when it carries so much more than the mean, by proportion and in requests a second. */
const EXCESS_RATIO = 1.25;
const EXCESS_MIN = 100;
/** And when it helps: what remains of the unevenness (squared) is at most this part. */
const REMAINING_MAX = 0.8;
/** It must have been so for this many looks in a row: a burst moves nobody. */
const LOOKS = 3;
/** After any change of leaders: smoothed rates of a new leader begin at nothing. */
const PAUSE_MS = 60_000;
/** Hottest shards looked at, and partners for an exchange with each: what keeps a look cheap with a thousand shards. */
const HOT_MAX = 8;
const PARTNERS_MAX = 4;

/** Requests a second that each shard's leader serves, smoothed. */
export type ShardLoads = ReadonlyMap<ShardId, number>;

/** Which voter of a shard should be its first choice for a leader. Member id, 16 hex digits. */
export interface LeaderPreference {
  readonly shard: ShardId;
  readonly member: string;
}

export interface LeaderLoadInput {
  readonly map: ShardMap;
  /** Members fit to lead. */
  readonly healthy: ReadonlySet<string>;
  /** Member that leads each shard now. */
  readonly leaders: ReadonlyMap<ShardId, string>;
  readonly loads: ShardLoads;
}

function preferring(entry: ShardEntry, preferences: readonly LeaderPreference[]): ShardEntry {
  const wanted = preferences.find(({ shard }) => shard === entry.id)?.member;
  if (wanted === undefined || !entry.voters.includes(wanted)) return entry;
  return { ...entry, voters: [wanted, ...entry.voters.filter((voter) => voter !== wanted)] };
}

/** The map with these preferences, as far as they are voters of the shards. */
export function preferLeaders(map: ShardMap, preferences: readonly LeaderPreference[]): ShardMap {
  return { ...map, shards: map.shards.map((entry) => preferring(entry, preferences)) };
}

/** What each fit member carries when every shard is led where it should be. */
function carried(
  { healthy, loads }: LeaderLoadInput,
  targets: ReadonlyMap<ShardId, string>,
): Map<string, number> {
  const sums = new Map([...healthy].map((member) => [member, 0]));
  for (const [shard, member] of targets)
    sums.set(member, (sums.get(member) ?? 0) + (loads.get(shard) ?? 0));
  return sums;
}

const meanOf = (sums: ReadonlyMap<string, number>): number =>
  [...sums.values()].reduce((sum, load) => sum + load, 0) / Math.max(1, sums.size);

function unevenness(sums: ReadonlyMap<string, number>): number {
  const mean = meanOf(sums);
  return [...sums.values()].reduce((sum, load) => sum + (load - mean) ** 2, 0);
}

/** One shard from the hottest member to another voter, alone or in exchange for one that comes back. */
function* candidates(
  { map, healthy, loads }: LeaderLoadInput,
  targets: ReadonlyMap<ShardId, string>,
  sums: ReadonlyMap<string, number>,
  hottest: string,
): Generator<readonly LeaderPreference[]> {
  const loadOf = ({ id }: ShardEntry): number => loads.get(id) ?? 0;
  const data = map.shards.filter(({ id }) => id !== META_SHARD);
  const hot = data
    .filter(({ id }) => targets.get(id) === hottest)
    .sort((a, b) => loadOf(b) - loadOf(a))
    .slice(0, HOT_MAX);
  for (const entry of hot) {
    for (const to of entry.voters) {
      if (to === hottest || !healthy.has(to)) continue;
      const there = { shard: entry.id, member: to };
      yield [there];
      const surplus = ((sums.get(hottest) ?? 0) - (sums.get(to) ?? 0)) / 2;
      const miss = (one: ShardEntry): number => Math.abs(loadOf(entry) - loadOf(one) - surplus);
      const partners = data
        .filter(({ id, voters }) => targets.get(id) === to && voters.includes(hottest))
        .sort((a, b) => miss(a) - miss(b));
      for (const { id } of partners.slice(0, PARTNERS_MAX)) {
        yield [there, { shard: id, member: hottest }];
      }
    }
  }
}

/**
 * The change of preferences that evens out the load best, of one shard or of two that are exchanged; none while the load is even
 * enough, nothing helps, or leaders are not yet where they should be. The number of leaders each member has stays as even
 * as {@link leaderTargets} makes it: what is weighed is what it makes of the changed map.
 */
export function relievingPreferences(input: LeaderLoadInput): readonly LeaderPreference[] {
  const { map, healthy, leaders, loads } = input;
  const targets = leaderTargets(map, healthy);
  const isSettled = [...targets].every(([shard, member]) => leaders.get(shard) === member);
  const isKnown = map.shards.every(({ id }) => loads.has(id));
  if (!isSettled || !isKnown) return [];
  const sums = carried(input, targets);
  const mean = meanOf(sums);
  const [hottest, most] = [...sums].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
  if (most < mean * EXCESS_RATIO || most - mean < EXCESS_MIN) return [];
  let least = unevenness(sums) * REMAINING_MAX;
  let best: readonly LeaderPreference[] = [];
  for (const preferences of candidates(input, targets, sums, hottest)) {
    const after = leaderTargets(preferLeaders(map, preferences), healthy);
    const remaining = unevenness(carried(input, after));
    if (remaining >= least) continue;
    least = remaining;
    best = preferences;
  }
  return best;
}

const textOf = (leaders: ReadonlyMap<ShardId, string>): string =>
  [...leaders]
    .map((entry) => entry.join())
    .sort()
    .join(';');

/** {@link relievingPreferences} at a pace: only what stays uneven is evened out, one change at a time, each measured first. */
export class LeaderLoadPlanner {
  #looks = 0;
  #pausedUntilMs = 0;
  #leaders = '';

  /** A look every some seconds. `nowMs` on a monotonic clock. */
  look(nowMs: number, input: LeaderLoadInput): readonly LeaderPreference[] {
    const leaders = textOf(input.leaders);
    if (leaders !== this.#leaders) {
      this.#leaders = leaders;
      this.#looks = 0;
      this.#pausedUntilMs = nowMs + PAUSE_MS;
    }
    if (nowMs < this.#pausedUntilMs) return [];
    const preferences = relievingPreferences(input);
    this.#looks = preferences.length === 0 ? 0 : this.#looks + 1;
    if (this.#looks < LOOKS) return [];
    this.#looks = 0;
    this.#pausedUntilMs = nowMs + PAUSE_MS;
    return preferences;
  }
}
