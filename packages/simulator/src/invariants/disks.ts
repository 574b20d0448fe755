import { equalBytes, type ShardId } from '@kvorum/base';
import { decodeMeta, META_KEY, revisionKey } from '@kvorum/mvcc';
import type { SimMember } from '../member.ts';
import type { Truth } from '../truth.ts';
import type { World, WorldObserver } from '../world.ts';
import type { Problems } from './names.ts';

const REVISION_PREFIX = revisionKey(0, 0)[0];

/** Looks at what a crash left on the disks: the position and what it admits are there together, or neither is. */
export class DiskChecker implements WorldObserver {
  readonly #world: World;
  readonly #truths: ReadonlyMap<ShardId, Truth>;
  readonly #problems: Problems;

  constructor(world: World, truths: ReadonlyMap<ShardId, Truth>, problems: Problems) {
    this.#world = world;
    this.#truths = truths;
    this.#problems = problems;
  }

  readonly crashed = (member: SimMember): void => {
    if (member.damaged) return;
    for (const shard of this.#world.shards) this.#check(member, shard);
  };

  #check(member: SimMember, shard: ShardId): void {
    const truth = this.#truths.get(shard);
    const rows = member.stores.rows(shard, 'now');
    const found = rows.find(([key]) => equalBytes(key, META_KEY));
    if (truth === undefined || truth.frozen || found === undefined) return;
    truth.extend(this.#world.history(shard));
    const meta = decodeMeta(found[1]);
    const about = `${member.name} shard ${shard}`;
    if (!meta.ok) {
      this.#problems.add('batch-atomic', `${about}: the position row does not decode`);
      return;
    }
    const { compactRevision, generation, index, revision } = meta.value;
    if (generation !== this.#world.generation(shard)) return;
    const expected = truth.revisionAt(index);
    if (revision !== expected) {
      const text = `${about}: revision ${revision} at index ${index}, the log says ${expected}`;
      this.#problems.add('batch-atomic', text);
      return;
    }
    // Slots that come and go bring rows of other timelines, and take some away.
    if (truth.ownership !== undefined) return;
    const newest = newestRow(rows);
    const last = truth.lastChangeAt(index);
    // Compaction may have removed the last change when it was a delete.
    if (newest === last || (last !== undefined && last <= compactRevision)) return;
    const text = `${about}: at index ${index} the newest row is of revision ${newest}, not ${last}`;
    this.#problems.add('batch-atomic', text);
  }
}

function newestRow(
  rows: readonly (readonly [key: Uint8Array, value: Uint8Array])[],
): number | undefined {
  for (let i = rows.length - 1; i >= 0; i -= 1) {
    const key = rows[i]?.[0];
    if (key === undefined || key[0] !== REVISION_PREFIX) continue;
    return Number(new DataView(key.buffer, key.byteOffset).getBigUint64(1));
  }
  return undefined;
}
