import { fromUtf8, type ShardId } from '@kvorum/base';
import {
  decodeHead,
  historyFloor,
  isRow,
  revisionKey,
  rowKeyValue,
  type SlotSpan,
  spansHold,
} from '@kvorum/mvcc';
import { movesOf, type ShardMap } from '@kvorum/shard';
import type { OpRecord, WatchRecord } from '../history.ts';
import type { SimMember } from '../member.ts';
import { GROUP_IDS, shardOfGroup, slotOfGroup } from '../moves/slot-groups.ts';
import { mapOfValue } from '../moves/slot-service.ts';
import { type Change, Truth } from '../truth.ts';
import type { World } from '../world.ts';
import type { Problems } from './names.ts';
import { checkOutcomes } from './outcomes.ts';
import { checkWatch } from './watches.ts';

const REVISION_PREFIX = revisionKey(0, 0)[0];

export interface MoveCheckerParts {
  readonly truths: ReadonlyMap<ShardId, Truth>;
  readonly problems: Problems;
  readonly firstMap: ShardMap;
  /** The shard that keeps the map. */
  readonly meta: ShardId;
}

/** Holds the logs of the shards, the map, and what the disks hold in the end, against each other. */
export class MoveChecker {
  readonly #world: World;
  readonly #parts: MoveCheckerParts;
  #read = 0;
  map: ShardMap;

  constructor(world: World, parts: MoveCheckerParts) {
    this.#world = world;
    this.#parts = parts;
    this.map = parts.firstMap;
  }

  /** At one moment of all logs: each slot is served once at most, owned by somebody, and here or on its way to where the map says. */
  check(): void {
    const { truths, problems, meta } = this.#parts;
    for (const [shard, truth] of truths) truth.extend(this.#world.history(shard));
    const changes = truths.get(meta)?.changes ?? [];
    for (; this.#read < changes.length; this.#read += 1) {
      const { key, value } = changes[this.#read] as Change;
      this.map = mapOfValue(key, value) ?? this.map;
    }
    for (const group of GROUP_IDS) {
      const text = this.#ownedOnce(group);
      if (text !== undefined) {
        problems.add('slot-owned-once', `group ${group}, map ${this.map.version}: ${text}`);
      }
    }
    for (const [shard, { foreign }] of truths) {
      problems.addAll(
        'slot-owned-once',
        foreign.map((change) => `shard ${shard} took ${change}, which it did not serve`),
      );
    }
  }

  /** Moves that are still under way. */
  get open(): readonly string[] {
    return movesOf(this.map).map(({ id, phase, attempt }) => `move ${id} ${phase} ${attempt}`);
  }

  /** To be called when everything that was asked for has had the time to end. */
  checkEnded(): void {
    this.#parts.problems.addAll('move-ends', this.open);
  }

  /** What clients were told of their writes, wherever the keys were. */
  checkWrites(ops: readonly OpRecord[]): void {
    for (const group of GROUP_IDS) {
      const own = ops.filter(({ shard }) => shard === group);
      this.#parts.problems.addAll('moved-writes', checkOutcomes(own, this.groupTruth(group)));
    }
  }

  /** What a watcher saw, wherever its keys were. */
  checkWatch(record: WatchRecord): void {
    this.#parts.problems.addAll('moved-watch', checkWatch(record, this.groupTruth(record.shard)));
  }

  /**
   * Every version that no compaction took stands once on each disk of the owner, as it was written wherever; and no version on
   * those of a shard that has let the slot go.
   */
  checkDisks(members: readonly SimMember[]): void {
    const { problems, truths, meta } = this.#parts;
    for (const shard of truths.keys()) {
      if (shard === meta) continue;
      for (const member of members) problems.addAll('moved-history', leftOn(member, shard));
    }
    for (const group of GROUP_IDS) {
      const owner = shardOfGroup(this.map, group);
      const expected = versionsOf(this.groupTruth(group).changes);
      for (const member of members) {
        const replica = member.replica(owner);
        if (replica === undefined) continue;
        const { compactRevision } = replica.status();
        const slot = slotOfGroup(Number(group));
        const { ownership } = replica.slotStatus();
        const floor = historyFloor(ownership, [[slot, slot]], compactRevision);
        const rows = rowsOn(member, owner, group);
        const texts = compare(expected, rows, floor);
        problems.addAll(
          'moved-history',
          texts.map((text) => `${member.name} shard ${owner} group ${group}: ${text}`),
        );
      }
    }
  }

  /** The history of one group, over all shards that had it. */
  groupTruth(group: ShardId): Truth {
    const merged = new Truth();
    const prefix = `s${group}/`;
    const changes: Change[] = [];
    for (const [shard, truth] of this.#parts.truths) {
      if (shard === this.#parts.meta) continue;
      changes.push(...truth.changes.filter(({ key }) => key.startsWith(prefix)));
      merged.covers(truth.revision, truth.compactRevision);
    }
    changes.sort((a, b) => a.revision - b.revision);
    for (const change of changes) merged.add(change);
    return merged;
  }

  #ownedOnce(group: ShardId): string | undefined {
    const { truths, firstMap, meta } = this.#parts;
    const slot = slotOfGroup(Number(group));
    const serving: ShardId[] = [];
    const coming: ShardId[] = [];
    for (const [shard, { ownership }] of truths) {
      if (shard === meta) continue;
      const holds = ({ slots }: { readonly slots: readonly SlotSpan[] }): boolean =>
        spansHold(slots, slot);
      const first = shardOfGroup(firstMap, group) === shard;
      const owns = ownership === undefined ? first : spansHold(ownership.owned, slot);
      const sealed = ownership?.imports.some((one) => one.state === 'sealed' && holds(one));
      if (owns && ownership?.frozen.some(holds) !== true) serving.push(shard);
      if (owns || sealed === true) coming.push(shard);
    }
    if (serving.length > 1) return `served by ${serving.join(' and ')}`;
    // A source that waited for long lets go as soon as the map says so: the target has everything, and adopts.
    if (coming.length === 0) return 'owned by nobody';
    const named = shardOfGroup(this.map, group);
    if (coming.includes(named)) return undefined;
    return `the map says ${named}, held by ${coming.join(' and ')}`;
  }
}

/** Versions that stand on a disk of a shard which neither owns their slot nor takes it on, and has dropped what it had of it. */
function leftOn(member: SimMember, shard: ShardId): readonly string[] {
  const ownership = member.replica(shard)?.slotStatus().ownership;
  if (ownership === undefined) return [];
  const { owned, imports, drops } = ownership;
  const here = [owned, ...[...imports, ...drops].map(({ slots }) => slots)];
  return GROUP_IDS.filter((group) => {
    const slot = slotOfGroup(Number(group));
    return !here.some((slots) => spansHold(slots, slot));
  }).flatMap((group) =>
    [...rowsOn(member, shard, group)].map(([key, rows]) => {
      const revisions = rows.map(({ revision }) => revision).join();
      return `${member.name} shard ${shard}: ${key}@${revisions} is left behind`;
    }),
  );
}

interface Row {
  readonly revision: number;
  /** Value, create revision and version, or that it is a deletion. */
  readonly text: string;
}

/** Every version of each key with what it must carry. */
function versionsOf(changes: readonly Change[]): ReadonlyMap<string, readonly Row[]> {
  const versions = new Map<string, Row[]>();
  const live = new Map<string, { readonly create: number; readonly version: number }>();
  for (const { key, revision, value } of changes) {
    const list = versions.get(key) ?? [];
    versions.set(key, list);
    if (value === undefined) {
      live.delete(key);
      list.push({ revision, text: 'deleted' });
      continue;
    }
    const before = live.get(key);
    const now = { create: before?.create ?? revision, version: (before?.version ?? 0) + 1 };
    live.set(key, now);
    list.push({ revision, text: `${value} created ${now.create} version ${now.version}` });
  }
  return versions;
}

function rowsOn(
  member: SimMember,
  shard: ShardId,
  group: ShardId,
): ReadonlyMap<string, readonly Row[]> {
  const rows = new Map<string, Row[]>();
  for (const [storeKey, row] of member.stores.rows(shard, 'now')) {
    if (storeKey[0] !== REVISION_PREFIX || !isRow(row)) continue;
    const { key, value, modRevision, createRevision, version } = rowKeyValue(row);
    const name = fromUtf8(key);
    if (!name.startsWith(`s${group}/`)) continue;
    const text = decodeHead(row).deleted
      ? 'deleted'
      : `${fromUtf8(value)} created ${createRevision} version ${version}`;
    const list = rows.get(name) ?? [];
    rows.set(name, list);
    list.push({ revision: modRevision, text });
  }
  return rows;
}

function compare(
  expected: ReadonlyMap<string, readonly Row[]>,
  found: ReadonlyMap<string, readonly Row[]>,
  floor: number,
): readonly string[] {
  const wrong: string[] = [];
  for (const [key, rows] of found) wrong.push(...strange(key, rows, expected.get(key) ?? []));
  for (const [key, rows] of expected)
    wrong.push(...lacking(key, rows, found.get(key) ?? [], floor));
  return wrong;
}

/** Rows that stand twice, or that nobody wrote so. */
function strange(key: string, rows: readonly Row[], known: readonly Row[]): readonly string[] {
  return rows.flatMap(({ revision, text }, i) => {
    const first = rows.findIndex((row) => row.revision === revision);
    if (first !== i) return [`${key}@${revision} stands twice`];
    const written = known.some((row) => row.revision === revision && row.text === text);
    return written ? [] : [`${key}@${revision} is ${text}, which nobody wrote`];
  });
}

function lacking(
  key: string,
  rows: readonly Row[],
  found: readonly Row[],
  floor: number,
): readonly string[] {
  const stood = rows.filter(({ revision }) => revision <= floor).at(-1);
  const wrong = rows
    .filter((row) => row.revision > floor || (row === stood && row.text !== 'deleted'))
    .filter(({ revision }) => !found.some((row) => row.revision === revision))
    .map(({ revision, text }) => `${key}@${revision} (${text}) is missing, whole from ${floor} on`);
  const newest = found.at(-1);
  const last = rows.at(-1);
  const lives = newest !== undefined && newest.text !== 'deleted' && last?.text === 'deleted';
  if (lives) wrong.push(`${key}@${newest.revision} lives again, deleted at ${last.revision}`);
  return wrong;
}
