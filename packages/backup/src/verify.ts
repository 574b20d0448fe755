import { isKvError, type ShardId } from '@kvorum/base';
import type { SnapshotStore, StateStores } from '@kvorum/ports';
import type { BackupFile, BackupManifest } from './manifest.ts';
import type { Progress } from './save.ts';
import { loadSnapshot } from './scratch.ts';
import { stateHash } from './snapshot-stream.ts';

export interface VerifiedFile {
  readonly shard: ShardId;
  readonly bytes: number;
  readonly rowCount: number;
  /** What is wrong with it; absent when it is proven. */
  readonly problem?: string;
}

export interface VerifyOptions {
  readonly store: SnapshotStore;
  readonly manifest: BackupManifest;
  readonly scratch: StateStores;
  readonly progress: (progress: Progress) => void;
}

/**
 * Proves a backup: restores each copy into a scratch store and compares its content's digest with the one that the member computed
 * from its own state when the copy was made. Damage is an answer, not an error.
 *
 * Errors: KV_BACKUP when the store does not answer; KV_DATA_DIR for the scratch.
 */
export async function verifyBackup(options: VerifyOptions): Promise<readonly VerifiedFile[]> {
  const results: VerifiedFile[] = [];
  for (const file of options.manifest.files) {
    const { shard, bytes, rowCount } = file;
    const problem = await problemOf(file, options);
    results.push({ shard, bytes, rowCount, ...(problem === undefined ? {} : { problem }) });
    options.progress({ step: problem ?? 'proven', shard, bytes, done: true });
  }
  return results;
}

async function problemOf(file: BackupFile, options: VerifyOptions): Promise<string | undefined> {
  const { shard, sha256 } = file;
  const { store, scratch, progress, manifest } = options;
  const listed = (await store.list(shard)).find((info) => info.name === file.name);
  if (listed === undefined) return 'the copy is missing';
  if (listed.bytes !== file.bytes || listed.sha256 !== sha256) {
    return 'the copy is not the one that the manifest names: another SHA-256';
  }
  const name = `verify-${shard}`;
  await scratch.remove(name);
  const state = await scratch.open(name);
  try {
    const { header, trailer } = await loadSnapshot(state, store.load(file), (bytes) => {
      progress({ step: 'verifying', shard, bytes, done: false });
    });
    const differs =
      header.shard !== shard ||
      header.clusterId !== BigInt(`0x${manifest.clusterId}`) ||
      header.revision !== file.revision ||
      header.position.index !== file.index ||
      trailer.rowCount !== file.rowCount;
    if (differs) return 'the copy is of another shard, cluster or moment than the manifest says';
    const hash = await stateHash(state, header.revision, header.compactRevision);
    if (hash !== file.stateHash) {
      return `restored it has the content hash ${hash}, the member had ${file.stateHash}`;
    }
    return undefined;
  } catch (error) {
    if (isKvError(error) && ['KV_CORRUPT', 'KV_BACKUP'].includes(error.code)) return error.message;
    throw error;
  } finally {
    await state.close();
    await scratch.remove(name);
  }
}
