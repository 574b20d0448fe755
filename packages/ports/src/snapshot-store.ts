import type { ShardId } from '@kvorum/base';

export interface SnapshotInfo {
  readonly shard: ShardId;
  readonly name: string;
  readonly bytes: number;
  /** SHA-256 of the content, 64 lower-case hex digits. */
  readonly sha256: string;
}

/** Keeps copies of shard snapshots outside the members (a directory, S3): the place for backups. */
export interface SnapshotStore {
  save(shard: ShardId, name: string, content: AsyncIterable<Uint8Array>): Promise<SnapshotInfo>;
  list(shard: ShardId): Promise<readonly SnapshotInfo[]>;
  load(info: SnapshotInfo): AsyncIterable<Uint8Array>;
  remove(info: SnapshotInfo): Promise<void>;
}
