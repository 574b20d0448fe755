import type { ShardId } from '@kvorum/base';
import { decodeHead, HEADS, keyAfter, restoredRow, revisionKey, userKeyOfRow } from '@kvorum/mvcc';
import type { StateReader, StateStore } from '@kvorum/ports';
import { type ShardMap, shardOfKey } from '@kvorum/shard';
import type { SnapshotRow } from '@kvorum/wire';

const SCAN = { limit: 1024, bytesMax: 1024 * 1024 };
const TARGET_BYTES = 4;

/**
 * The live rows of all old shards in the order in which each new shard takes them, sorted by a store:
 * `u32 target, u64 modRevision, u32 source, u32 sub` → revision row.
 */
export class Staging {
  readonly #store: StateStore;
  readonly #target: ShardMap;
  readonly #targets: readonly ShardId[];
  keys = 0;
  /** Keys that were attached to a lease. */
  leased = 0;

  constructor(store: StateStore, target: ShardMap, targets: readonly ShardId[]) {
    this.#store = store;
    this.#target = target;
    this.#targets = targets;
  }

  /**
   * Adds the live keys of one old shard.
   *
   * @param source - its number; several old shards may have used one revision each.
   * @param owned - whether the old map gave the key to this shard: rows of a slot that was on the move may lie in two.
   */
  async add(
    reader: StateReader,
    source: number,
    owned: (key: Uint8Array) => boolean,
  ): Promise<void> {
    let { gte } = HEADS;
    const { lt } = HEADS;
    for (;;) {
      const heads = await reader.scan({ gte, lt }, SCAN);
      const last = heads.at(-1);
      if (last === undefined) return;
      gte = keyAfter(last[0]);
      const live = heads.map(([, value]) => decodeHead(value)).filter((head) => !head.deleted);
      this.leased += live.filter((head) => head.lease !== 0n).length;
      const rows = await reader.getMany(live.map((head) => revisionKey(head.modMain, head.modSub)));
      await this.#store.write(
        (batch) => {
          for (const row of rows) {
            if (row === undefined || !owned(userKeyOfRow(row))) continue;
            batch.put(this.#stagingKey(row, source), row);
            this.keys += 1;
          }
        },
        { sync: false },
      );
    }
  }

  #stagingKey(row: Uint8Array, source: number): Uint8Array {
    const shard = shardOfKey(this.#target, userKeyOfRow(row));
    const { modMain, modSub } = decodeHead(row);
    const key = new Uint8Array(TARGET_BYTES + 16);
    const view = new DataView(key.buffer);
    view.setUint32(0, this.#targets.indexOf(shard));
    view.setBigUint64(4, BigInt(modMain));
    view.setUint32(12, source);
    view.setUint32(16, modSub);
    return key;
  }

  /** The rows of one new shard as it stores them, ascending, in bounded pieces. */
  async *rowsOf(shard: ShardId): AsyncGenerator<readonly SnapshotRow[], void, undefined> {
    const target = this.#targets.indexOf(shard);
    let gte = targetKey(target);
    const lt = targetKey(target + 1);
    let main = -1;
    let sub = 0;
    for (;;) {
      const staged = await this.#store.scan({ gte, lt }, SCAN);
      const last = staged.at(-1);
      if (last === undefined) return;
      gte = keyAfter(last[0]);
      yield staged.map(([, row]): SnapshotRow => {
        const { modMain } = decodeHead(row);
        sub = modMain === main ? sub + 1 : 0;
        main = modMain;
        return restoredRow(row, sub);
      });
    }
  }
}

function targetKey(target: number): Uint8Array {
  const key = new Uint8Array(TARGET_BYTES);
  new DataView(key.buffer).setUint32(0, target);
  return key;
}
