import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BackupManifest,
  listBackups,
  manifestName,
  type Progress,
  parseManifest,
} from '@kvorum/backup';
import type { SnapshotStore, StateStores } from '@kvorum/ports';
import { parseShardMap, type ShardMap } from '@kvorum/shard';
import { openSnapshotStore } from '@kvorum/snapshot-store';
import type { Context } from '../context.ts';
import { urlOf } from '../etcd-gateway.ts';
import { InputError, IoError } from '../exit.ts';
import { askJson, type MemberCall } from '../member-http.ts';
import { bytesText } from './rows.ts';
import type { StoreFlags } from './store-flags.ts';

const PROGRESS_MS = 2000;

/** `--json` is short for `-w json`. */
export function wantsJson(context: Context, flags: StoreFlags): boolean {
  return flags.json === true || context.globals().format === 'json';
}

export async function withStore<T>(
  where: string,
  flags: StoreFlags,
  run: (store: SnapshotStore) => Promise<T>,
): Promise<T> {
  const store = await openSnapshotStore({
    store: where,
    ...(flags.storeEndpoint === undefined ? {} : { endpoint: flags.storeEndpoint }),
    ...(flags.storePathStyle === true ? { pathStyle: true } : {}),
  });
  try {
    return await run(store);
  } finally {
    await store.close();
  }
}

/** Stores in a directory of their own that is removed afterwards. */
export async function withScratch<T>(
  flags: StoreFlags,
  run: (scratch: StateStores) => Promise<T>,
): Promise<T> {
  const parent = flags.scratch ?? tmpdir();
  let directory: string;
  try {
    directory = mkdtempSync(join(parent, 'kvctl-'));
  } catch (error) {
    throw new IoError(`cannot write in ${parent}: ${(error as Error).message}`);
  }
  // Loaded only where it is used: LevelDB costs start time.
  const { openLevelStores } = await import('@kvorum/store-level');
  const scratch = openLevelStores({ directory });
  try {
    return await run(scratch);
  } finally {
    await scratch.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Steps that are done, and every two seconds how far the present one is, on the error stream. */
export function reporter(context: Context): (progress: Progress) => void {
  let lastMs = performance.now();
  return ({ step, shard, bytes, done }) => {
    if (context.io.signal.aborted) throw new IoError('interrupted');
    const nowMs = performance.now();
    if (!done && nowMs - lastMs < PROGRESS_MS) return;
    lastMs = nowMs;
    const amount = step === 'replaying' ? `${bytes} records` : bytesText(bytes);
    context.io.err(`shard ${shard}: ${step}${bytes > 0 ? ` ${amount}` : ''}${done ? '' : ' …'}\n`);
  };
}

/** The backup that is named; else the newest. Errors: KV_BACKUP; InputError when there is none. */
export async function chosenBackup(
  store: SnapshotStore,
  name: string | undefined,
): Promise<BackupManifest> {
  if (name !== undefined) {
    const text = await store.readDocument(manifestName(name));
    if (text !== undefined) return parseManifest(name, text);
    throw new InputError(`no backup ${name} in ${store.where}`, `kvctl backup list ${store.where}`);
  }
  const newest = (await listBackups(store)).at(-1);
  if (newest !== undefined) return newest;
  throw new InputError(`no backup in ${store.where}`, `kvctl backup save ${store.where}`);
}

/** How to reach the members over HTTP: those of the command line first, then all others that they know. */
export type Caller = (path: string, body?: MemberCall['body']) => MemberCall;

export async function callerOf(context: Context): Promise<Caller> {
  const { endpoints } = context.globals();
  const known = await context.withClient((client) => client.members(context.call()));
  const urls = [...endpoints, ...known.flatMap((member) => member.clientUrls)];
  const unique = [...new Set(urls.map(urlOf))];
  const { tls } = context;
  return (path, body) => ({
    urls: unique,
    path,
    tls: tls(),
    authorization: context.authorization(),
    signal: context.io.signal,
    ...(body === undefined ? {} : { body }),
  });
}

/** Errors: InputError while slots move: a key might be in two copies, or in none. */
export async function quietMap(caller: Caller): Promise<ShardMap> {
  const plain = await askJson(caller('/v1/shard-map'));
  const map = parseShardMap(plain);
  if (!map.ok) throw new IoError(`a member sent no shard map: ${map.error}`);
  const moves = (plain as { readonly moves?: unknown }).moves;
  if (Array.isArray(moves) && moves.length > 0) {
    throw new InputError('slots are being moved', 'wait until `kvctl shard status` shows no move');
  }
  return map.value;
}
