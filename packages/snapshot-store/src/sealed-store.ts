import type { ShardId } from '@kvorum/base';
import type { SnapshotInfo, SnapshotStore } from '@kvorum/ports';
import {
  checkName,
  isName,
  parseSeal,
  SEAL_SUFFIX,
  sealText,
  sortedShards,
} from './store-names.ts';

/** What was written: SHA-256 in hex. */
export type Written = Pick<SnapshotInfo, 'bytes' | 'sha256'>;

/** Holds bytes under keys, `<name>` or `<folder>/<name>`: a directory or a bucket. Errors: KV_BACKUP. */
export interface ObjectStore {
  readonly where: string;
  /** With bounded memory; errors of `content` pass through as they are. */
  write(key: string, content: AsyncIterable<Uint8Array>): Promise<Written>;
  /** Undefined when there is none. */
  readText(key: string): Promise<string | undefined>;
  /** Errors: KV_BACKUP also when it is not of this size. */
  read(key: string, bytes: number): AsyncIterable<Uint8Array>;
  /** Harmless when it is gone already. */
  remove(key: string): Promise<void>;
  /** Names directly in a folder; '' = at the top. */
  list(folder: string): Promise<Listed>;
  close(): Promise<void>;
}

export interface Listed {
  readonly objects: readonly string[];
  readonly folders: readonly string[];
}

/** Copies under `<shard>/<name>`, each with its seal beside it, documents at the top. */
export function sealedStore(objects: ObjectStore): SnapshotStore {
  return new SealedStore(objects);
}

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

const keyOf = (shard: ShardId, name: string): string => `${shard}/${checkName(name)}`;
const sealOf = (key: string): string => `${key}${SEAL_SUFFIX}`;

class SealedStore implements SnapshotStore {
  readonly where: string;
  readonly #objects: ObjectStore;

  constructor(objects: ObjectStore) {
    this.where = objects.where;
    this.#objects = objects;
  }

  async save(
    shard: ShardId,
    name: string,
    content: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotInfo> {
    const key = keyOf(shard, name);
    // Its seal first: what is being replaced must not be taken for the new content.
    await this.#objects.remove(sealOf(key));
    const { bytes, sha256 } = await this.#objects.write(key, content);
    const info = { shard, name, bytes, sha256 };
    await this.#objects.write(sealOf(key), once(sealText(info)));
    return info;
  }

  async list(shard: ShardId): Promise<readonly SnapshotInfo[]> {
    const names = new Set((await this.#objects.list(shard)).objects);
    const sealed = [...names].filter((name) => isName(name) && names.has(sealOf(name)));
    const infos: SnapshotInfo[] = [];
    for (const name of sealed.sort()) {
      const text = await this.#objects.readText(sealOf(keyOf(shard, name)));
      if (text !== undefined) infos.push(parseSeal(shard, name, text));
    }
    return infos;
  }

  async shards(): Promise<readonly ShardId[]> {
    const { folders } = await this.#objects.list('');
    const found: ShardId[] = [];
    for (const shard of sortedShards(folders)) {
      if ((await this.list(shard)).length > 0) found.push(shard);
    }
    return found;
  }

  load({ shard, name, bytes }: SnapshotInfo): AsyncIterable<Uint8Array> {
    return this.#objects.read(keyOf(shard, name), bytes);
  }

  async remove({ shard, name }: SnapshotInfo): Promise<void> {
    const key = keyOf(shard, name);
    await this.#objects.remove(sealOf(key));
    await this.#objects.remove(key);
  }

  async writeDocument(name: string, text: string): Promise<void> {
    await this.#objects.write(checkName(name), once(text));
  }

  readDocument(name: string): Promise<string | undefined> {
    return this.#objects.readText(checkName(name));
  }

  async documents(): Promise<readonly string[]> {
    return (await this.#objects.list('')).objects.filter(isName).sort();
  }

  removeDocument(name: string): Promise<void> {
    return this.#objects.remove(checkName(name));
  }

  close(): Promise<void> {
    return this.#objects.close();
  }
}
