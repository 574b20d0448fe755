import type { ShardId } from '@kvorum/base';

/** One stored copy of a shard. */
export interface SnapshotInfo {
  readonly shard: ShardId;
  /** Unique within the shard; names that sort later are newer. */
  readonly name: string;
  readonly bytes: number;
  /** SHA-256 of the content, 64 lower-case hex digits. */
  readonly sha256: string;
}

/**
 * Keeps copies of shards outside the members (a directory, S3): the place for scheduled copies and backups. The contract suite is
 * `testkit/src/contract/snapshot-store.ts`.
 *
 * What is there is whole: a copy, or a document, whose writing broke off is not listed and cannot be loaded. Names of copies and
 * documents are plain file names: letters, digits, `.`, `_` and `-`, not starting with `.`.
 *
 * Errors: KV_BACKUP when the store cannot be reached, written or read; the message says why and what to do.
 */
export interface SnapshotStore {
  /** For messages: `file:///srv/copies`, `s3://bucket/prefix`. */
  readonly where: string;
  /**
   * Stores a copy of any size with bounded memory; replaces one of the same name. When `content` throws nothing is stored, and its
   * error is passed on.
   */
  save(shard: ShardId, name: string, content: AsyncIterable<Uint8Array>): Promise<SnapshotInfo>;
  /** Ascending by name. */
  list(shard: ShardId): Promise<readonly SnapshotInfo[]>;
  /** Shards that have copies: data shards in numeric order, then `meta`. */
  shards(): Promise<readonly ShardId[]>;
  /** Errors: KV_BACKUP also when the copy is gone or not of the size listed. */
  load(info: SnapshotInfo): AsyncIterable<Uint8Array>;
  /** Harmless when it is gone already. */
  remove(info: SnapshotInfo): Promise<void>;
  /** A small text beside the copies, such as the manifest of a backup; replaces one of the same name. */
  writeDocument(name: string, text: string): Promise<void>;
  /** Undefined when there is none. */
  readDocument(name: string): Promise<string | undefined>;
  /** Ascending by name. */
  documents(): Promise<readonly string[]>;
  removeDocument(name: string): Promise<void>;
  close(): Promise<void>;
}
