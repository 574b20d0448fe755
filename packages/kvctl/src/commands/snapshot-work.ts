import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import {
  type BackupManifest,
  backupOf,
  type ClusterMeta,
  decodeSnapshot,
  parseManifest,
} from '@kvorum/backup';
import { formatId, isShardId, KvError, META_SHARD } from '@kvorum/base';
import type { ShardMap } from '@kvorum/shard';
import type { Context } from '../context.ts';
import { InputError, IoError } from '../exit.ts';
import { packTar, type TarEntry, tarContent, tarEntries, unpackTar } from '../tar.ts';
import { withStore } from './backup-context.ts';
import { saveIn } from './backup-work.ts';
import { restore } from './restore-work.ts';
import { bytesText, printRows } from './rows.ts';
import type { SnapshotRestoreFlags } from './snapshot.ts';

const BACKUP_NAME = 'snapshot';
const SHA256_BYTES = 32;
/** In the first page of a file of bbolt. */
const BBOLT_MAGIC = Buffer.from('edda0ced', 'hex');
const BBOLT_MAGIC_AT = 16;
const OUR_MAGIC = Buffer.from('KVSN', 'latin1');

export async function saveSnapshot(context: Context, path: string): Promise<void> {
  const target = resolve(path);
  const failed = (error: unknown): never => {
    throw new IoError(`cannot write ${path}: ${(error as Error).message}`);
  };
  let directory = '';
  try {
    directory = mkdtempSync(join(dirname(target), `.${basename(target)}-`));
  } catch (error) {
    failed(error);
  }
  const aside = join(directory, 'whole');
  try {
    const store = join(directory, 'store');
    const manifest = await saveIn(context, store, {}, BACKUP_NAME);
    const file = await open(aside, 'wx', 0o600).catch(failed);
    try {
      await packTar(store, file).catch(failed);
    } finally {
      await file.close();
    }
    await rename(aside, target).catch(failed);
    const { revision, bytes } = manifest;
    if (context.globals().format === 'json') {
      context.io.out(`${JSON.stringify({ file: path, revision, bytes })}\n`);
    } else context.io.out(`Snapshot saved at ${path}\n`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A file of ours that is whole. */
type Opened =
  /** By kvctl: a backup. */
  | {
      readonly kind: 'backup';
      readonly manifest: BackupManifest;
      readonly entries: readonly TarEntry[];
    }
  /** By etcdctl: copies of all shards, one behind the other. */
  | { readonly kind: 'copies'; readonly spans: readonly Span[] };

/** Bytes of a file, the last one included. */
interface Span {
  readonly start: number;
  readonly end: number;
}

async function opened<T>(
  path: string,
  run: (file: FileHandle, found: Opened) => Promise<T>,
): Promise<T> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new IoError(`cannot read ${path}: ${(error as Error).message}`);
  });
  try {
    return await run(file, await look(path, file));
  } finally {
    await file.close();
  }
}

async function look(path: string, file: FileHandle): Promise<Opened> {
  const head = Buffer.alloc(BBOLT_MAGIC_AT + BBOLT_MAGIC.length);
  await file.read(head, 0, head.length, 0);
  if (head.subarray(0, OUR_MAGIC.length).equals(OUR_MAGIC)) {
    return { kind: 'copies', spans: await copiesIn(path, file) };
  }
  const entries = await tarEntries(path, file);
  if (entries !== undefined) {
    const document = entries.find(({ name }) => backupOf(name) === BACKUP_NAME);
    if (document !== undefined) {
      const text = await textOf(path, document);
      return { kind: 'backup', manifest: parseManifest(BACKUP_NAME, text), entries };
    }
  }
  if (head.subarray(BBOLT_MAGIC_AT).equals(BBOLT_MAGIC)) {
    throw new InputError(
      `${path} is a snapshot of etcd itself, which Kvorum cannot read`,
      'etcdutl snapshot restore it, start that etcd, then etcdctl make-mirror HOST:PORT of a member',
    );
  }
  throw new InputError(`${path} is no snapshot`, 'kvctl snapshot save FILE makes one');
}

async function textOf(path: string, entry: TarEntry): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of tarContent(path, entry)) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}

const damaged = (path: string, what: string): KvError =>
  new KvError('KV_CORRUPT', `${path}: ${what}`, {
    details: { hint: 'take another copy: kvctl snapshot save FILE' },
  });

const FRAME_HEAD_BYTES = 5;
const CRC_BYTES = 4;
const MAGIC_BYTES = 5;
const KIND_TRAILER = 3;

/** The copies in a file of etcdctl: zeros up to a page and a checksum stand behind them (snapshot-file.ts tells the frames). */
async function copiesIn(path: string, file: FileHandle): Promise<readonly Span[]> {
  const { size } = await file.stat();
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  const spans: Span[] = [];
  let start = 0;
  for (let at = MAGIC_BYTES; at + FRAME_HEAD_BYTES < size; ) {
    await file.read(head, 0, FRAME_HEAD_BYTES, at);
    at += FRAME_HEAD_BYTES + head.readUInt32BE(1) + CRC_BYTES;
    if (head.readUInt8(0) !== KIND_TRAILER || at > size - SHA256_BYTES) continue;
    spans.push({ start, end: at - 1 });
    await file.read(head, 0, OUR_MAGIC.length, at);
    if (!head.subarray(0, OUR_MAGIC.length).equals(OUR_MAGIC)) return spans;
    start = at;
    at += MAGIC_BYTES;
  }
  throw damaged(path, 'it is not whole');
}

async function mustMatchChecksum(path: string, file: FileHandle): Promise<string> {
  const { size } = await file.stat();
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { end: size - SHA256_BYTES - 1 })) {
    hash.update(piece as Uint8Array);
  }
  const wanted = Buffer.alloc(SHA256_BYTES);
  await file.read(wanted, 0, SHA256_BYTES, size - SHA256_BYTES);
  const found = hash.digest();
  if (found.equals(wanted)) return found.toString('hex');
  throw damaged(path, 'its checksum does not match its content');
}

interface Status {
  /** The first 32 bits of a SHA-256 over all of it. */
  readonly hash: string;
  readonly revision: number;
  /** Versions of keys, and what belongs to them. */
  readonly totalKeys: number;
  readonly totalSize: number;
  readonly shards: number;
}

async function statusOfBackup(
  path: string,
  { manifest, entries }: Opened & { readonly kind: 'backup' },
): Promise<Omit<Status, 'totalSize'>> {
  const whole = createHash('sha256');
  for (const { shard, name, sha256 } of manifest.files) {
    const entry = entries.find((one) => one.name === `${shard}/${name}`);
    if (entry === undefined) throw damaged(path, `the copy of shard ${shard} is missing`);
    const hash = createHash('sha256');
    for await (const piece of tarContent(path, entry)) hash.update(piece);
    const found = hash.digest('hex');
    if (found !== sha256) throw damaged(path, `the copy of shard ${shard} is damaged`);
    whole.update(found);
  }
  const data = manifest.files.filter(({ shard }) => shard !== 'meta');
  return {
    hash: whole.digest('hex').slice(0, 8),
    revision: manifest.revision,
    totalKeys: data.reduce((sum, { rowCount }) => sum + rowCount, 0),
    shards: data.length,
  };
}

async function statusOfCopies(
  path: string,
  file: FileHandle,
  spans: readonly Span[],
): Promise<Omit<Status, 'totalSize'>> {
  const hash = (await mustMatchChecksum(path, file)).slice(0, 8);
  let revision = 0;
  let totalKeys = 0;
  let shards = 0;
  for (const span of spans) {
    for await (const part of decodeSnapshot(createReadStream(path, span))) {
      if (part.kind === 'header') {
        if (part.header.shard === META_SHARD) break;
        revision = Math.max(revision, part.header.revision);
        shards += 1;
      } else if (part.kind === 'rows') totalKeys += part.rows.length;
    }
  }
  return { hash, revision, totalKeys, shards };
}

export async function snapshotStatus(context: Context, path: string): Promise<void> {
  const status = await opened(path, async (file, found): Promise<Status> => {
    const { size } = await file.stat();
    const rest =
      found.kind === 'backup'
        ? await statusOfBackup(path, found)
        : await statusOfCopies(path, file, found.spans);
    return { ...rest, totalSize: size };
  });
  const { hash, revision, totalKeys, totalSize, shards } = status;
  const row = [hash, String(revision), String(totalKeys), bytesText(totalSize), String(shards)];
  printRows(context, ['HASH', 'REVISION', 'TOTAL KEYS', 'TOTAL SIZE', 'SHARDS'], [row], status);
}

/** A cluster of one shard that has every slot: what files of older versions are of, which do not hold its meta shard. */
function mapOfOne(header: { readonly clusterId: string; readonly shard: string }): ShardMap {
  const { clusterId, shard: id } = header;
  if (!isShardId(id)) throw new KvError('KV_CORRUPT', `"${id}" is no shard`);
  return {
    version: 1,
    clusterId,
    slots: [{ from: 0, to: 16_383, shard: id }],
    shards: [{ id, uid: '0'.repeat(32), generation: 0, voters: [] }],
    members: [],
    rules: [],
  };
}

export async function restoreSnapshot(
  context: Context,
  path: string,
  flags: SnapshotRestoreFlags,
): Promise<void> {
  const directory = mkdtempSync(join(flags.scratch ?? tmpdir(), 'kvctl-snapshot-'));
  try {
    const found = await opened(path, async (file, found) => {
      if (found.kind === 'backup') {
        await unpackTar(path, found.entries, directory);
        return undefined;
      }
      await mustMatchChecksum(path, file);
      return copyInto(directory, path, found.spans);
    });
    if (found === undefined) {
      await restore(context, directory, { ...flags, backup: BACKUP_NAME });
      return;
    }
    if (found.sourceMeta !== undefined && flags.withoutAuth !== true) {
      throw new InputError(
        `${path} was saved by a version of kvd that left users and roles out`,
        'add --without-auth, and set them up before anybody else comes',
      );
    }
    await restore(context, directory, { ...flags, copies: true }, found.sourceMeta);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The copies as the only ones of a store; `sourceMeta` when that of the meta shard is not among them. */
async function copyInto(
  directory: string,
  path: string,
  spans: readonly Span[],
): Promise<{ readonly sourceMeta: ClusterMeta | undefined }> {
  let sourceMeta: ClusterMeta | undefined;
  for (const span of spans) {
    const { shard, clusterId } = await headerOf(path, span);
    await withStore(directory, {}, (store) =>
      store.save(shard, BACKUP_NAME, createReadStream(path, span)),
    );
    const map = mapOfOne({ shard, clusterId: formatId(clusterId) });
    sourceMeta = shard === META_SHARD ? undefined : { map, auth: undefined };
  }
  return { sourceMeta };
}

async function headerOf(path: string, span: Span) {
  for await (const part of decodeSnapshot(createReadStream(path, span))) {
    if (part.kind === 'header') return part.header;
  }
  throw damaged(path, 'it holds nothing');
}
