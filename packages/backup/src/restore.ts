import { createHash } from 'node:crypto';
import { clusterId as asClusterId, concatBytes, KvError, type ShardId } from '@kvorum/base';
import { initialMeta } from '@kvorum/mvcc';
import { type ShardMap, shardOfKey, shardsWithSlots } from '@kvorum/shard';
import { SnapshotEncoder, type SnapshotHeader, type SnapshotRow } from '@kvorum/wire';
import { type ClusterMeta, openSource, type RestoreSource, readClusterMeta } from './source.ts';
import { Staging } from './staging.ts';

/** What a watcher of the old cluster can never have seen: as etcd recommends. */
export const BUMP_REVISION_DEFAULT = 1_000_000_000;

export interface RestoreOptions extends RestoreSource {
  /** Of the new, empty cluster. */
  readonly target: ShardMap;
  /** Of the old one; absent: read from the copy of its meta shard. */
  readonly sourceMeta?: ClusterMeta | undefined;
  /** Gives the new cluster the users and roles of the old one, if it had any; what follows is asked as root where they are enabled. */
  readonly restoreAuth: (state: Uint8Array) => Promise<void>;
  readonly bumpRevision: number;
  readonly nowMs: () => number;
  /** What the new cluster's shard holds now. */
  readonly inspect: (shard: ShardId) => Promise<TargetState>;
  /** Goes on with a restore of the same source that broke off. */
  readonly resume: boolean;
  /** Gives some rows of one shard (a small snapshot file) to its leader; resolves when they are applied. May be repeated. */
  readonly upload: (shard: ShardId, piece: Uint8Array) => Promise<void>;
  /** Ends the loading of a shard: what was uploaded becomes visible at this revision. */
  readonly finish: (shard: ShardId, revision: number) => Promise<void>;
}

/** A shard of the new cluster. */
export interface TargetState {
  readonly revision: number;
  readonly compactRevision: number;
  /** Rows lie in it, visible or not. */
  readonly loaded: boolean;
}

export interface RestoredShard {
  readonly shard: ShardId;
  /** In the old cluster, where the restore ended. */
  readonly revision: number;
  readonly replayed: number;
  readonly timeMs: number | undefined;
}

export interface RestoreReport {
  readonly from: readonly RestoredShard[];
  readonly to: readonly ShardId[];
  /** Revision and compact revision of every shard of the new cluster. */
  readonly revision: number;
  readonly keys: number;
  readonly leased: number;
}

/**
 * Loads the keys of an old cluster into a new, empty one: each key to the shard that the new map gives it, with its value,
 * create and mod revision and version; and its users and roles. History, sessions and leases stay behind.
 *
 * Errors: KV_BACKUP, KV_CORRUPT, those of the old log, and those of `upload`.
 */
export async function restoreCluster(options: RestoreOptions): Promise<RestoreReport> {
  const { target, scratch, progress } = options;
  if (!options.resume) await mustBeEmpty(options);
  const { map: old, auth } = options.sourceMeta ?? (await readClusterMeta(options));
  const targets = shardsWithSlots(target);
  await scratch.remove('staging');
  const staging = new Staging(await scratch.open('staging'), target, targets);
  const from: RestoredShard[] = [];
  const loaded = new Map<ShardId, number>();
  // One that has lost its slots is in the map for a while yet; it holds nothing, and no backup has a copy of it.
  const holding = new Set<ShardId>(shardsWithSlots(old));
  for (const [number, entry] of old.shards.entries()) {
    if (!holding.has(entry.id)) continue;
    const { store, ...shard } = await openSource(entry.id, entry, options);
    await staging.add(store, number, (key) => shardOfKey(old, key) === entry.id);
    await store.close();
    await scratch.remove(`shard-${entry.id}`);
    from.push(shard);
    progress({ step: 'read', shard: entry.id, bytes: 0, done: true });
  }
  const revision = Math.max(0, ...from.map((one) => one.revision)) + options.bumpRevision;
  const source = asClusterId(BigInt(`0x${old.clusterId}`));
  // Before anything is visible: nobody may see in the new cluster what they could not see in the old one.
  if (auth !== undefined) await options.restoreAuth(auth);
  const unfinished: ShardId[] = [];
  for (const shard of targets) {
    if (!isFinished(await options.inspect(shard), revision)) unfinished.push(shard);
  }
  for (const shard of unfinished) {
    let bytes = 0;
    const about = { clusterId: source, shard, createdAtMs: options.nowMs() };
    for await (const rows of staging.rowsOf(shard)) {
      const piece = pieceOf(rows, about);
      await options.upload(shard, piece);
      bytes += piece.length;
      progress({ step: 'restoring', shard, bytes, done: false });
    }
    loaded.set(shard, bytes);
  }
  // Only now, so that nothing is visible of a restore that broke off.
  for (const shard of unfinished) {
    await options.finish(shard, revision);
    progress({ step: 'restored', shard, bytes: loaded.get(shard) ?? 0, done: true });
  }
  return { from, to: targets, revision, keys: staging.keys, leased: staging.leased };
}

const isFinished = (state: TargetState, revision: number): boolean =>
  state.revision === revision && state.compactRevision === revision;

/** Rows of another restore would show up among those of this one. */
async function mustBeEmpty(options: RestoreOptions): Promise<void> {
  for (const shard of shardsWithSlots(options.target)) {
    const { revision, loaded } = await options.inspect(shard);
    if (revision === 1 && !loaded) continue;
    const found = revision === 1 ? 'part of a restore' : `revision ${revision}`;
    throw new KvError('KV_BACKUP', `shard ${shard} of the new cluster is not empty: ${found}`, {
      details: { shard, hint: 'use an empty cluster; to go on with the same restore: --resume' },
    });
  }
}

/** Rows in the form of a whole small snapshot file, so that damage on the way is noticed. */
function pieceOf(
  rows: readonly SnapshotRow[],
  about: Pick<SnapshotHeader, 'clusterId' | 'shard' | 'createdAtMs'>,
): Uint8Array {
  const encoder = new SnapshotEncoder(createHash('sha256'));
  const { format, revision, compactRevision, ...position } = initialMeta();
  const begin = encoder.begin({
    ...about,
    shardUid: new Uint8Array(16),
    generation: 0,
    position,
    revision,
    compactRevision,
    storeFormat: format,
  });
  return concatBytes(begin, encoder.rows(rows), encoder.end('').bytes);
}
