import { createHash } from 'node:crypto';
import { concatBytes, isKvError, META_SHARD, type ShardId, shardId, utf8 } from '@kvorum/base';
import type { SnapshotStore } from '@kvorum/ports';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** A fresh, empty store and what removes it. `reopen` yields the same content through a new one. */
export interface SnapshotStoreFixture {
  readonly store: SnapshotStore;
  reopen(): Promise<SnapshotStore>;
  dispose(): Promise<void>;
}

const SHARD: ShardId = shardId(3);
const MIB = 1024 * 1024;

async function* pieces(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  for (const part of parts) yield part;
}

async function* broken(error: Error): AsyncIterable<Uint8Array> {
  yield new Uint8Array(6 * MIB);
  throw error;
}

async function read(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(part);
  return concatBytes(...parts);
}

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Runs the same tests over any SnapshotStore; called from a test file of the adapter. */
export function describeSnapshotStoreContract(
  name: string,
  createFixture: () => Promise<SnapshotStoreFixture>,
): void {
  describe(`SnapshotStore contract: ${name}`, () => {
    let fixture: SnapshotStoreFixture;
    beforeEach(async () => {
      fixture = await createFixture();
    });
    afterEach(() => fixture.dispose());

    describe('copies', () => describeCopies(() => fixture));
    describe('documents', () => describeDocuments(() => fixture));
  });
}

function describeCopies(fixture: () => SnapshotStoreFixture): void {
  it('keeps a copy with its size and SHA-256, for later processes too', async () => {
    const { store } = fixture();
    const content = utf8('hello world');
    const info = await store.save(
      SHARD,
      'one',
      pieces(content.subarray(0, 5), content.subarray(5)),
    );
    expect(info).toEqual({ shard: SHARD, name: 'one', bytes: 11, sha256: sha(content) });
    const later = await fixture().reopen();
    expect(await later.list(SHARD)).toEqual([info]);
    expect(await read(later.load(info))).toEqual(content);
  });

  it('keeps an empty copy', async () => {
    const { store } = fixture();
    const info = await store.save(SHARD, 'empty', pieces());
    expect(info.bytes).toBe(0);
    expect(await read(store.load(info))).toHaveLength(0);
  });

  it('keeps a copy of many megabytes as it came', async () => {
    const { store } = fixture();
    const parts = Array.from({ length: 13 }, (_, i) => new Uint8Array(MIB + i).fill(i));
    const info = await store.save(SHARD, 'large', pieces(...parts));
    const whole = concatBytes(...parts);
    expect(info).toMatchObject({ bytes: whole.length, sha256: sha(whole) });
    expect(sha(await read(store.load(info)))).toBe(info.sha256);
  });

  it('lists the copies of a shard by name, and the shards that have some', async () => {
    const { store } = fixture();
    for (const name of ['b', 'c', 'a']) await store.save(SHARD, name, pieces(utf8(name)));
    await store.save(shardId(10), 'x', pieces(utf8('x')));
    await store.save(META_SHARD, 'm', pieces(utf8('m')));
    expect((await store.list(SHARD)).map((info) => info.name)).toEqual(['a', 'b', 'c']);
    expect(await store.list(shardId(4))).toEqual([]);
    expect(await store.shards()).toEqual(['3', '10', 'meta']);
  });

  it('replaces a copy of the same name', async () => {
    const { store } = fixture();
    await store.save(SHARD, 'same', pieces(utf8('old')));
    const info = await store.save(SHARD, 'same', pieces(utf8('newer')));
    expect(await store.list(SHARD)).toEqual([info]);
    expect(await read(store.load(info))).toEqual(utf8('newer'));
  });

  it('keeps nothing of a copy whose content broke off, and passes the error on', async () => {
    const { store } = fixture();
    const reason = new Error('the source went away');
    await expect(store.save(SHARD, 'half', broken(reason))).rejects.toBe(reason);
    expect(await store.list(SHARD)).toEqual([]);
    expect(await store.shards()).toEqual([]);
  });

  it('removes a copy, once or twice', async () => {
    const { store } = fixture();
    const info = await store.save(SHARD, 'gone', pieces(utf8('x')));
    await store.remove(info);
    await store.remove(info);
    expect(await store.list(SHARD)).toEqual([]);
    const loading = read(store.load(info));
    await expect(loading).rejects.toSatisfy((e) => isKvError(e) && e.code === 'KV_BACKUP');
  });
}

function describeDocuments(fixture: () => SnapshotStoreFixture): void {
  it('keeps texts beside the copies', async () => {
    const { store } = fixture();
    await store.save(SHARD, 'copy', pieces(utf8('x')));
    expect(await store.readDocument('b.json')).toBeUndefined();
    await store.writeDocument('b.json', 'first');
    await store.writeDocument('b.json', '{"é":1}');
    await store.writeDocument('a.json', '{}');
    const later = await fixture().reopen();
    expect(await later.documents()).toEqual(['a.json', 'b.json']);
    expect(await later.readDocument('b.json')).toBe('{"é":1}');
    await later.removeDocument('b.json');
    await later.removeDocument('b.json');
    expect(await later.documents()).toEqual(['a.json']);
    expect(await later.shards()).toEqual(['3']);
  });
}
