import { createHash } from 'node:crypto';
import { concatBytes, KvError, type ShardId } from '@kvorum/base';
import type { SnapshotInfo, SnapshotStore } from '@kvorum/ports';

interface Stored {
  readonly info: SnapshotInfo;
  readonly content: Uint8Array;
}

const order = (shard: string): number =>
  shard === 'meta' ? Number.MAX_SAFE_INTEGER : Number(shard);

/** Copies and documents in memory. */
export function memorySnapshotStore(): SnapshotStore {
  return new MemorySnapshotStore();
}

class MemorySnapshotStore implements SnapshotStore {
  readonly where = 'memory:';
  readonly #copies = new Map<string, Stored>();
  readonly #documents = new Map<string, string>();

  async save(
    shard: ShardId,
    name: string,
    content: AsyncIterable<Uint8Array>,
  ): Promise<SnapshotInfo> {
    const pieces: Uint8Array[] = [];
    for await (const piece of content) pieces.push(piece);
    const whole = concatBytes(...pieces);
    const sha256 = createHash('sha256').update(whole).digest('hex');
    const info = { shard, name, bytes: whole.length, sha256 };
    this.#copies.set(`${shard}/${name}`, { info, content: whole });
    return info;
  }

  async list(shard: ShardId): Promise<readonly SnapshotInfo[]> {
    const infos = [...this.#copies.values()].map(({ info }) => info);
    return infos.filter((info) => info.shard === shard).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async shards(): Promise<readonly ShardId[]> {
    const shards = new Set([...this.#copies.values()].map(({ info }) => info.shard));
    return [...shards].sort((a, b) => order(a) - order(b));
  }

  async *load(info: SnapshotInfo): AsyncIterable<Uint8Array> {
    const stored = this.#copies.get(`${info.shard}/${info.name}`);
    if (stored === undefined || stored.info.bytes !== info.bytes) {
      throw new KvError('KV_BACKUP', `no copy ${info.name} of shard ${info.shard} in memory`);
    }
    yield stored.content;
  }

  async remove(info: SnapshotInfo): Promise<void> {
    this.#copies.delete(`${info.shard}/${info.name}`);
  }

  async writeDocument(name: string, text: string): Promise<void> {
    this.#documents.set(name, text);
  }

  async readDocument(name: string): Promise<string | undefined> {
    return this.#documents.get(name);
  }

  async documents(): Promise<readonly string[]> {
    return [...this.#documents.keys()].sort();
  }

  async removeDocument(name: string): Promise<void> {
    this.#documents.delete(name);
  }

  async close(): Promise<void> {}
}
