import { AUTH_STATE_KEY } from '@kvorum/auth';
import {
  revision as asRevision,
  DEFAULT_LIMITS,
  fromHex,
  fromUtf8,
  KvError,
  META_SHARD,
  type ShardId,
} from '@kvorum/base';
import { Engine, initialMeta } from '@kvorum/mvcc';
import type {
  SharedLogs,
  SnapshotInfo,
  SnapshotStore,
  StateReader,
  StateStore,
  StateStores,
} from '@kvorum/ports';
import { emptyAcceptedState } from '@kvorum/raft';
import { drive } from '@kvorum/replica';
import { parseShardMap, SHARD_MAP_KEY, type ShardEntry, type ShardMap } from '@kvorum/shard';
import type { SnapshotHeader } from '@kvorum/wire';
import type { BackupManifest } from './manifest.ts';
import { type ReplayUntil, replayLog } from './replay.ts';
import type { Progress } from './save.ts';
import { acceptedOf, loadSnapshot } from './scratch.ts';
import { decodeSnapshot } from './snapshot-stream.ts';

/** What a cluster is rebuilt from. */
export interface RestoreSource {
  readonly store: SnapshotStore;
  /** A backup of the store; undefined = the newest scheduled copy of every shard that fits. */
  readonly manifest: BackupManifest | undefined;
  /** The logs of the old cluster; undefined = the copies alone. */
  readonly logs: SharedLogs | undefined;
  /** By shard, or the same for all; only with `logs`. */
  readonly until: (shard: ShardId) => ReplayUntil;
  /** For the stores that the content is put together in. */
  readonly scratch: StateStores;
  readonly progress: (progress: Progress) => void;
}

/** A shard of the old cluster, put together in a store. */
export interface SourceShard {
  readonly shard: ShardId;
  readonly store: StateStore;
  readonly revision: number;
  /** Records of the log that were applied to the copy. */
  readonly replayed: number;
  /** By the leader's clock; of the last of them. */
  readonly timeMs: number | undefined;
}

/** The copy of a shard to start from; undefined = there is none that fits. */
async function copyOf(shard: ShardId, source: RestoreSource): Promise<SnapshotInfo | undefined> {
  const { manifest, store } = source;
  if (manifest !== undefined) return manifest.files.find((file) => file.shard === shard);
  const copies = [...(await store.list(shard))].reverse();
  const until = source.until(shard);
  if (until.kind === 'end') return copies[0];
  for (const copy of copies) {
    const header = await readHeader(store, copy);
    const fits =
      until.kind === 'revision'
        ? header.revision <= until.revision
        : header.createdAtMs <= until.timeMs;
    if (fits) return copy;
  }
  return undefined;
}

/** The header of a copy, without the rest. Errors: KV_CORRUPT, KV_BACKUP. */
export async function readHeader(
  store: SnapshotStore,
  copy: SnapshotInfo,
): Promise<SnapshotHeader> {
  for await (const part of decodeSnapshot(store.load(copy))) {
    if (part.kind === 'header') return part.header;
  }
  throw new KvError('KV_CORRUPT', `copy ${copy.name} of shard ${copy.shard} has no header`);
}

async function openEmpty(scratch: StateStores, name: string): Promise<StateStore> {
  await scratch.remove(name);
  return scratch.open(name);
}

/**
 * Puts one shard together: its copy, then the records of its log behind it.
 *
 * @param entry - from the shard map: what a log without a copy must belong to.
 * Errors: KV_BACKUP, KV_CORRUPT, and what the log says.
 */
export async function openSource(
  shard: ShardId,
  entry: Pick<ShardEntry, 'uid' | 'generation'> | undefined,
  source: RestoreSource,
): Promise<SourceShard> {
  const copy = await copyOf(shard, source);
  const store = await openEmpty(source.scratch, `shard-${shard}`);
  const start =
    copy === undefined ? bareStart(shard, entry, source) : await load(shard, copy, store, source);
  const { logs } = source;
  if (logs === undefined) return { shard, store, replayed: 0, timeMs: undefined, ...start.at };
  if (entry !== undefined && entry.generation !== start.generation) {
    const copied = `the copy is of generation ${start.generation}, the log of ${entry.generation}`;
    throw new KvError('KV_BACKUP', `shard ${shard} was recovered after its copy: ${copied}`, {
      details: { shard, hint: 'use a newer copy, or restore the copies without the log' },
    });
  }
  const log = await logs.open({ shard, generation: start.generation }, { create: false });
  try {
    const replayed = await replayLog({
      ...start,
      ...start.at,
      store,
      log,
      shard,
      until: source.until(shard),
      progress: (records) => {
        source.progress({ step: 'replaying', shard, bytes: records, done: false });
      },
    });
    const { revision, records, timeMs } = replayed;
    return { shard, store, revision, replayed: records, timeMs };
  } finally {
    await log.close();
  }
}

interface Start {
  readonly shardUid: Uint8Array;
  readonly generation: number;
  readonly from: ReturnType<typeof acceptedOf>;
  readonly at: { readonly revision: number; readonly compactRevision: number };
}

async function load(
  shard: ShardId,
  copy: SnapshotInfo,
  store: StateStore,
  source: RestoreSource,
): Promise<Start> {
  const { header } = await loadSnapshot(store, source.store.load(copy), (bytes) => {
    source.progress({ step: 'loading', shard, bytes, done: false });
  });
  if (header.shard !== shard) {
    throw new KvError('KV_BACKUP', `copy ${copy.name} is of shard ${header.shard}, not ${shard}`);
  }
  const { shardUid, generation, revision, compactRevision } = header;
  const from = acceptedOf(header);
  return { shardUid, generation, from, at: { revision, compactRevision } };
}

/** Without a copy the log must be there from its beginning. */
function bareStart(
  shard: ShardId,
  entry: Pick<ShardEntry, 'uid' | 'generation'> | undefined,
  source: RestoreSource,
): Start {
  const shardUid = entry === undefined ? undefined : fromHex(entry.uid);
  if (entry === undefined || shardUid === undefined || source.logs === undefined) {
    throw new KvError('KV_BACKUP', `no copy of shard ${shard} in ${source.store.where} fits`, {
      details: { shard, hint: 'name another backup with --backup, or a later --at' },
    });
  }
  const { revision, compactRevision } = initialMeta();
  const { generation } = entry;
  return { shardUid, generation, from: emptyAcceptedState(), at: { revision, compactRevision } };
}

/** What the meta shard of a cluster holds. */
export interface ClusterMeta {
  readonly map: ShardMap;
  /** Users and roles (package auth), encoded; undefined = there never were any. */
  readonly auth: Uint8Array | undefined;
}

/** From a store of the meta shard at a revision. Errors: KV_BACKUP when there is no shard map. */
async function clusterMetaOf(reader: StateReader, revision: number): Promise<ClusterMeta> {
  const engine = Engine.load({ ...initialMeta(), revision: asRevision(revision) }, DEFAULT_LIMITS);
  const { kvs } = await drive(engine.getBatch([SHARD_MAP_KEY, AUTH_STATE_KEY]), reader);
  const [kv, auth] = kvs;
  if (kv === undefined) throw new KvError('KV_BACKUP', 'the meta shard holds no shard map yet');
  const map = parseShardMap(JSON.parse(fromUtf8(kv.value)));
  if (!map.ok) throw new KvError('KV_BACKUP', `the shard map is damaged: ${map.error}`);
  return { map: map.value, auth: auth?.value };
}

/** The old cluster's: from the copy of its meta shard, and its log. */
export async function readClusterMeta(source: RestoreSource): Promise<ClusterMeta> {
  // Revisions of the data shards say nothing about those of the meta shard.
  const until = (shard: ShardId): ReplayUntil => {
    const wanted = source.until(shard);
    return wanted.kind === 'revision' ? { kind: 'end' } : wanted;
  };
  const meta = await openSource(META_SHARD, undefined, { ...source, until });
  const found = await clusterMetaOf(meta.store, meta.revision);
  await meta.store.close();
  return found;
}
