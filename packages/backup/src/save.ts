import { formatId, isKvError, KvError, type ShardId } from '@kvorum/base';
import type { SnapshotStore } from '@kvorum/ports';
import type { SnapshotHeader, SnapshotTrailer } from '@kvorum/wire';
import {
  type BackupFile,
  type BackupManifest,
  backupOf,
  formatManifest,
  MANIFEST_FORMAT,
  manifestName,
  parseManifest,
} from './manifest.ts';
import { checkedSnapshot } from './snapshot-stream.ts';

/** To begin a copy; each may break off. */
const ATTEMPTS = 3;

/** Long work tells how far it has come, often. */
export interface Progress {
  /** What is being done with the shard, e.g. `saving`. */
  readonly step: string;
  readonly shard: ShardId;
  readonly bytes: number;
  readonly done: boolean;
}

export interface SaveOptions {
  readonly store: SnapshotStore;
  readonly backup: string;
  /** `meta` is one of them. */
  readonly shards: readonly ShardId[];
  readonly mapVersion: number;
  /** The copy of one shard as a member streams it. */
  readonly fetch: (shard: ShardId) => AsyncIterable<Uint8Array>;
  readonly nowMs: () => number;
  readonly progress: (progress: Progress) => void;
}

/**
 * Saves a copy of every shard, then the manifest. Each copy is checked on its way; the first failure ends it, and what was stored
 * so far is removed.
 *
 * Errors: KV_BACKUP, KV_CORRUPT (a copy came damaged), and what `fetch` throws.
 */
export async function saveBackup(options: SaveOptions): Promise<BackupManifest> {
  const { store, backup, shards } = options;
  const startedAt = new Date(options.nowMs()).toISOString();
  const files: BackupFile[] = [];
  let clusterId: string | undefined;
  try {
    for (const shard of shards) {
      const saved = await saveWhole(shard, options);
      if (clusterId !== undefined && clusterId !== saved.clusterId) {
        throw new KvError('KV_BACKUP', `the members belong to ${clusterId} and ${saved.clusterId}`);
      }
      clusterId = saved.clusterId;
      files.push(saved.file);
    }
    const manifest = {
      format: MANIFEST_FORMAT,
      name: backup,
      clusterId: clusterId ?? '',
      startedAt,
      finishedAt: new Date(options.nowMs()).toISOString(),
      mapVersion: options.mapVersion,
      revision: Math.max(...files.map((file) => file.revision)),
      bytes: files.reduce((sum, file) => sum + file.bytes, 0),
      files,
    };
    await store.writeDocument(manifestName(backup), formatManifest(manifest));
    return manifest;
  } catch (error) {
    // Harmless when it fails: without a manifest it is no backup.
    await Promise.allSettled(files.map((file) => store.remove(file)));
    throw error;
  }
}

interface Saved {
  readonly file: BackupFile;
  readonly clusterId: string;
}

/** The member that sends a copy may die meanwhile: another one begins anew. */
async function saveWhole(shard: ShardId, options: SaveOptions): Promise<Saved> {
  for (let left = ATTEMPTS - 1; ; left -= 1) {
    let hasBegun = false;
    const progress = (at: Progress): void => {
      hasBegun = true;
      options.progress(at);
    };
    try {
      return await saveShard(shard, { ...options, progress });
    } catch (error) {
      // Before it has begun, every member has been asked already.
      const isBroken = hasBegun && isKvError(error) && error.code === 'KV_UNAVAILABLE';
      if (!isBroken || left === 0) throw error;
    }
  }
}

async function saveShard(shard: ShardId, options: SaveOptions): Promise<Saved> {
  const { store, backup, fetch, progress } = options;
  let header: SnapshotHeader | undefined;
  let trailer: SnapshotTrailer | undefined;
  const content = checkedSnapshot(fetch(shard), (part) => {
    if (part.kind === 'header') header = part.header;
    if (part.kind === 'trailer') trailer = part.trailer;
  });
  const info = await store.save(shard, backup, counted(content, shard, progress));
  if (header === undefined || trailer === undefined || header.shard !== shard) {
    throw new KvError('KV_BACKUP', `a member sent another shard's copy in place of ${shard}`);
  }
  const { position, generation, revision, compactRevision } = header;
  const { offset, index } = position;
  const { rowCount, stateHash } = trailer;
  progress({ step: 'saved', shard, bytes: info.bytes, done: true });
  return {
    clusterId: formatId(header.clusterId),
    file: {
      ...info,
      generation,
      offset,
      index,
      revision,
      compactRevision,
      rowCount,
      stateHash,
    },
  };
}

async function* counted(
  content: AsyncIterable<Uint8Array>,
  shard: ShardId,
  progress: SaveOptions['progress'],
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const piece of content) {
    bytes += piece.length;
    progress({ step: 'saving', shard, bytes, done: false });
    yield piece;
  }
}

/** The backups of a store, oldest first. Errors: KV_BACKUP for a manifest that cannot be read. */
export async function listBackups(store: SnapshotStore): Promise<readonly BackupManifest[]> {
  const manifests: BackupManifest[] = [];
  for (const document of await store.documents()) {
    const backup = backupOf(document);
    const text = backup === undefined ? undefined : await store.readDocument(document);
    if (backup !== undefined && text !== undefined) manifests.push(parseManifest(backup, text));
  }
  return manifests.sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
}
