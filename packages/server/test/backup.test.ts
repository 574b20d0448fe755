import {
  type BackupManifest,
  listBackups,
  type ReplayUntil,
  type RestoreReport,
  restoreCluster,
  saveBackup,
  type TargetState,
  verifyBackup,
} from '@kvorum/backup';
import { isKvError, KvError, type ShardId } from '@kvorum/base';
import { openLocalLogs } from '@kvorum/log-local';
import type { SharedLogs, SnapshotStore } from '@kvorum/ports';
import { parseShardMap, type ShardMap } from '@kvorum/shard';
import { memorySnapshotStore, memoryStateStores } from '@kvorum/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OneMember, startOneMember, temporaryDirectory } from './support/one-member.ts';

const quiet = (): void => undefined;

async function call(url: string, init: RequestInit = {}): Promise<unknown> {
  const answer = await fetch(url, init);
  const body: unknown = await answer.json();
  if (answer.ok) return body;
  throw new Error(JSON.stringify(body));
}

function put(cluster: OneMember, key: string, value: string): Promise<unknown> {
  return call(`${cluster.url}/v1/kv/keys/${encodeURIComponent(key)}`, {
    method: 'PUT',
    headers: { 'content-type': 'text/plain' },
    body: value,
  });
}

interface Kv {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
}

async function everything(cluster: OneMember): Promise<readonly Kv[]> {
  const answer = (await call(`${cluster.url}/v1/kv/range`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prefix: true, key: '' }),
  })) as { readonly kvs: readonly Kv[] };
  return [...answer.kvs].sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function mapOf(cluster: OneMember): Promise<ShardMap> {
  const map = parseShardMap(await call(`${cluster.url}/v1/shard-map`));
  if (!map.ok) throw new Error(map.error);
  return map.value;
}

async function* snapshot(cluster: OneMember, shard: ShardId): AsyncGenerator<Uint8Array> {
  const answer = await fetch(`${cluster.url}/v1/snapshot/${shard}`);
  if (!answer.ok || answer.body === null) throw new Error(await answer.text());
  const reader = answer.body.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
}

async function save(
  cluster: OneMember,
  store: SnapshotStore,
  backup: string,
): Promise<BackupManifest> {
  const map = await mapOf(cluster);
  return saveBackup({
    store,
    backup,
    shards: map.shards.map(({ id }) => id),
    mapVersion: map.version,
    fetch: (shard) => snapshot(cluster, shard),
    nowMs: () => Date.now(),
    progress: quiet,
  });
}

async function restore(
  cluster: OneMember,
  source: {
    readonly store: SnapshotStore;
    readonly manifest: BackupManifest | undefined;
    readonly logs?: SharedLogs;
    readonly until?: ReplayUntil;
    readonly resume?: boolean;
    /** Breaks off before that shard is finished. */
    readonly breakAt?: string;
  },
): Promise<RestoreReport> {
  const send = async (path: string, body: Uint8Array | string, type: string): Promise<void> => {
    await call(`${cluster.url}/v1/restore/${path}`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: typeof body === 'string' ? body : new Uint8Array(body),
    });
  };
  return restoreCluster({
    ...source,
    logs: source.logs,
    until: () => source.until ?? { kind: 'end' },
    scratch: memoryStateStores(),
    progress: quiet,
    target: await mapOf(cluster),
    bumpRevision: 1000,
    resume: source.resume ?? false,
    inspect: async (shard) => (await call(`${cluster.url}/v1/restore/${shard}`)) as TargetState,
    nowMs: () => Date.now(),
    restoreAuth: (state) => send('auth', state, 'application/octet-stream'),
    upload: (shard, piece) => send(shard, piece, 'application/octet-stream'),
    finish: (shard, revision) =>
      shard === source.breakAt
        ? Promise.reject(new TypeError('broke off'))
        : send(`${shard}/finish`, JSON.stringify({ revision }), 'application/json'),
  });
}

describe('backup and restore', () => {
  const directory = temporaryDirectory();
  const clusters: OneMember[] = [];
  let count = 0;
  const start = async (shards: number): Promise<OneMember> => {
    count += 1;
    const cluster = await startOneMember(`${directory.path}/c${count}`, {
      shards,
      clusterName: `c${count}`,
    });
    clusters.push(cluster);
    return cluster;
  };
  let old: OneMember;
  beforeAll(async () => {
    old = await start(3);
    for (let i = 0; i < 60; i += 1) await put(old, `dir${i % 7}/key${i}`, `first ${i}`);
    for (let i = 0; i < 60; i += 3) await put(old, `dir${i % 7}/key${i}`, `second ${i}`);
    for (let i = 0; i < 60; i += 10) {
      const key = encodeURIComponent(`dir${i % 7}/key${i}`);
      await call(`${old.url}/v1/kv/keys/${key}`, { method: 'DELETE' });
    }
  });
  afterAll(async () => {
    for (const cluster of clusters) await cluster.stop();
    directory.remove();
  });

  it('brings every key into a cluster with another number of shards, revisions and all', async () => {
    const store = memorySnapshotStore();
    const manifest = await save(old, store, 'one');
    expect(await listBackups(store)).toEqual([manifest]);
    const before = await everything(old);
    for (const shards of [1, 5]) {
      const fresh = await start(shards);
      const report = await restore(fresh, { store, manifest });
      expect(report).toMatchObject({ keys: before.length, leased: 0 });
      expect(await everything(fresh)).toEqual(before);
      expect(report.revision).toBe(manifest.revision + 1000);
      // A revision of the old cluster is history that is gone.
      const asked = fetch(`${fresh.url}/v1/kv/keys/dir0?revision=${manifest.revision}`);
      expect(await (await asked).json()).toMatchObject({ error: { code: 'KV_COMPACTED' } });
      await put(fresh, 'dir1/new', 'after');
      expect(await everything(fresh)).toHaveLength(before.length + 1);
      await expect(restore(fresh, { store, manifest })).rejects.toThrow('is not empty');
      const forced = restore(fresh, { store, manifest, resume: true });
      await expect(forced).rejects.toThrow('KV_BACKUP');
    }
  });

  it('goes on after it broke off, and mixes with no other restore', async () => {
    const store = memorySnapshotStore();
    const manifest = await save(old, store, 'one');
    const fresh = await start(4);
    for (const breakAt of ['0', '2']) {
      const broken = restore(fresh, { store, manifest, breakAt, resume: breakAt === '2' });
      await expect(broken).rejects.toThrow('broke off');
      if (breakAt === '0') expect(await everything(fresh)).toEqual([]);
      const again = restore(fresh, { store, manifest });
      await expect(again).rejects.toThrow('is not empty');
    }
    await restore(fresh, { store, manifest, resume: true });
    expect(await everything(fresh)).toEqual(await everything(old));
  });

  it('takes no users of a backup that nobody could have made', async () => {
    const fresh = await start(1);
    const user = { name: 'root', roles: ['root'], since: 1 };
    const state = { format: 1, version: 1, revision: 1, enabled: false, tokenKey: '', roles: [] };
    const hash = (cost: number): string => `$2b$${cost}$${'x'.repeat(53)}`;
    const restoring = (passwordHash: string): Promise<unknown> =>
      call(`${fresh.url}/v1/restore/auth`, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: JSON.stringify({ ...state, users: [{ ...user, passwordHash }] }),
      });
    await expect(restoring('secret')).rejects.toThrow('KV_CORRUPT');
    // Half a minute for every try to log in.
    await expect(restoring(hash(20))).rejects.toThrow('KV_CORRUPT');
    expect(await restoring(hash(10))).toEqual({ enabled: false, users: 1, roles: 0 });
  });

  it('proves a backup, and says what is wrong with a damaged one', async () => {
    const store = memorySnapshotStore();
    const manifest = await save(old, store, 'one');
    const verify = (subject: BackupManifest): ReturnType<typeof verifyBackup> =>
      verifyBackup({ store, manifest: subject, scratch: memoryStateStores(), progress: quiet });
    expect((await verify(manifest)).filter(({ problem }) => problem !== undefined)).toEqual([]);
    const [first] = manifest.files;
    if (first === undefined) throw new Error('a backup has files');
    const files = [{ ...first, stateHash: '0'.repeat(16) }];
    expect((await verify({ ...manifest, files }))[0]?.problem).toMatch('content hash');
    async function* damaged(): AsyncGenerator<Uint8Array> {
      for await (const piece of store.load(first as typeof first & object)) {
        yield piece.map((byte, i) => (i === 1000 ? byte ^ 1 : byte));
      }
    }
    const info = await store.save(first.shard, first.name, damaged());
    expect((await verify(manifest))[0]?.problem).toMatch('another SHA-256');
    const lying = { ...manifest, files: [{ ...first, ...info }] };
    expect((await verify(lying))[0]?.problem).toMatch(/damaged snapshot at byte \d+: the checksum/);
    await store.remove(info);
    expect((await verify(manifest))[0]?.problem).toBe('the copy is missing');
  });

  it('begins a copy anew when the member that sends it dies, a few times', async () => {
    const store = memorySnapshotStore();
    const map = await mapOf(old);
    let deaths = 0;
    async function* dying(shard: ShardId, lives: number): AsyncGenerator<Uint8Array> {
      for await (const piece of snapshot(old, shard)) {
        yield piece;
        if (shard !== '1' || deaths >= lives) continue;
        deaths += 1;
        throw new KvError('KV_UNAVAILABLE', 'the copy broke off');
      }
    }
    const saving = (lives: number): Promise<BackupManifest> =>
      saveBackup({
        store,
        backup: `dies-${lives}`,
        shards: map.shards.map(({ id }) => id),
        mapVersion: 1,
        fetch: (shard) => dying(shard, lives),
        nowMs: () => 0,
        progress: quiet,
      });
    const manifest = await saving(2);
    expect(deaths).toBe(2);
    const proven = await verifyBackup({
      ...{ store, manifest, scratch: memoryStateStores(), progress: quiet },
    });
    expect(proven.every(({ problem }) => problem === undefined)).toBe(true);
    deaths = 0;
    await expect(saving(9)).rejects.toThrow('broke off');
  });

  it('keeps nothing of a backup that broke off', async () => {
    const store = memorySnapshotStore();
    const map = await mapOf(old);
    const failing = saveBackup({
      store,
      backup: 'half',
      shards: map.shards.map(({ id }) => id),
      mapVersion: 1,
      fetch: (shard) => snapshot(old, shard === '2' ? ('9' as ShardId) : shard),
      nowMs: () => 0,
      progress: quiet,
    });
    await expect(failing).rejects.toThrow('no shard 9');
    expect(await store.shards()).toEqual([]);
    expect(await listBackups(store)).toEqual([]);
  });

  it('replays the log on a copy, to its end, to a revision and to a time', async () => {
    const cluster = await start(1);
    const store = memorySnapshotStore();
    for (let i = 0; i < 5; i += 1) await put(cluster, 'k', `early ${i}`);
    const manifest = await save(cluster, store, 'early');
    for (let i = 0; i < 5; i += 1) await put(cluster, 'k', `mid ${i}`);
    const atMid = Date.now();
    while (Date.now() <= atMid + 2) await new Promise((resolve) => setTimeout(resolve, 1));
    for (let i = 0; i < 5; i += 1) await put(cluster, 'k', `late ${i}`);
    const final = await everything(cluster);
    await cluster.stop();
    clusters.splice(clusters.indexOf(cluster), 1);
    const logs = await openLocalLogs({ directory: `${directory.path}/c${count}/log` });
    const cases: readonly (readonly [ReplayUntil, string])[] = [
      [{ kind: 'end' }, 'late 4'],
      [{ kind: 'time', timeMs: atMid }, 'mid 4'],
      [{ kind: 'revision', revision: manifest.revision + 2 }, 'mid 1'],
      [{ kind: 'revision', revision: manifest.revision }, 'early 4'],
    ];
    for (const [until, value] of cases) {
      const fresh = await start(2);
      await restore(fresh, { store, manifest, logs: logs.forMember(), until });
      const [kv] = await everything(fresh);
      expect(kv?.value).toBe(value);
      if (until.kind === 'end') expect(await everything(fresh)).toEqual(final);
    }
    const before = { kind: 'revision', revision: manifest.revision - 1 } as const;
    const fresh = await start(1);
    const tooEarly = restore(fresh, { store, manifest, logs: logs.forMember(), until: before });
    await expect(tooEarly).rejects.toSatisfy((e) => isKvError(e) && /older one/.test(e.message));
    await logs.close();
  });
});
