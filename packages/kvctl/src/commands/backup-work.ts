import {
  type BackupManifest,
  listBackups,
  manifestName,
  saveBackup,
  verifyBackup,
} from '@kvorum/backup';
import { META_SHARD } from '@kvorum/base';
import type { SnapshotStore } from '@kvorum/ports';
import { shardsWithSlots } from '@kvorum/shard';
import type { Context } from '../context.ts';
import { EXIT, Exit, InputError } from '../exit.ts';
import { askStream } from '../member-http.ts';
import { jsonLine } from '../output.ts';
import {
  callerOf,
  chosenBackup,
  quietMap,
  reporter,
  wantsJson,
  withScratch,
  withStore,
} from './backup-context.ts';
import { bytesText, printRows } from './rows.ts';
import type { StoreFlags } from './store-flags.ts';

/** Members and empty shards that come and go change the map too: that is seldom twice. */
const ATTEMPTS = 3;

/** `20261121T154225Z`: sorts by time, and is a plain file name everywhere. */
function backupName(now: Date): string {
  return now
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:]/g, '');
}

export async function save(
  context: Context,
  where: string,
  flags: StoreFlags & { readonly name?: string },
): Promise<void> {
  const backup = flags.name ?? backupName(new Date());
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(backup)) {
    throw new InputError(`"${backup}" is no name for a backup`, 'letters, digits, - and _');
  }
  const manifest = await saveIn(context, where, flags, backup);
  if (wantsJson(context, flags)) context.io.out(jsonLine(manifest));
  else context.io.out(`saved backup ${backup}: ${describe(manifest)}\n`);
}

/** A backup of that name in a store that has none. */
export async function saveIn(
  context: Context,
  where: string,
  flags: StoreFlags,
  backup: string,
): Promise<BackupManifest> {
  const caller = await callerOf(context);
  return withStore(where, flags, async (store) => {
    if ((await listBackups(store)).some(({ name }) => name === backup)) {
      throw new InputError(`there is a backup ${backup} in ${store.where} already`);
    }
    for (let left = ATTEMPTS - 1; ; left -= 1) {
      const saved = await attempt(context, caller, store, backup);
      if (saved !== undefined) return saved;
      if (left === 0) {
        throw new InputError(
          'the shard map changed during the backup',
          'run the same command again',
        );
      }
      context.io.err('the shard map changed during the backup: once more\n');
    }
  });
}

/** Undefined: the map changed on the way, which may have moved keys between two copies; nothing is left of them. */
async function attempt(
  context: Context,
  caller: Awaited<ReturnType<typeof callerOf>>,
  store: SnapshotStore,
  backup: string,
): Promise<BackupManifest | undefined> {
  const map = await quietMap(caller);
  const saved = await saveBackup({
    store,
    backup,
    shards: [...shardsWithSlots(map), META_SHARD],
    mapVersion: map.version,
    fetch: (shard) => askStream(caller(`/v1/snapshot/${shard}`)),
    nowMs: () => Date.now(),
    progress: reporter(context),
  });
  if ((await quietMap(caller)).version === map.version) return saved;
  await store.removeDocument(manifestName(saved.name));
  await Promise.all(saved.files.map((file) => store.remove(file)));
  return undefined;
}

function describe(manifest: BackupManifest): string {
  const { files, bytes, revision } = manifest;
  return `${files.length} copies, ${bytesText(bytes)}, revision ${revision}`;
}

/** A scheduled copy's name ends with the time, milliseconds. */
function copiedAt(name: string): string {
  const [, ms] = /-(\d{14})$/.exec(name) ?? [];
  return ms === undefined ? '-' : new Date(Number(ms)).toISOString();
}

export async function list(context: Context, where: string, flags: StoreFlags): Promise<void> {
  const { backups, copies } = await withStore(where, flags, async (store) => {
    const manifests = await listBackups(store);
    const names = new Set(manifests.flatMap((one) => one.files.map((file) => file.name)));
    const shards = await store.shards();
    const all = await Promise.all(shards.map((shard) => store.list(shard)));
    return { backups: manifests, copies: all.flat().filter(({ name }) => !names.has(name)) };
  });
  const rows = [
    ...backups.map((one) => [
      one.name,
      one.finishedAt,
      one.clusterId,
      String(one.revision),
      bytesText(one.bytes),
    ]),
    ...copies.map((copy) => [
      `shard ${copy.shard}: ${copy.name}`,
      copiedAt(copy.name),
      '-',
      '-',
      bytesText(copy.bytes),
    ]),
  ];
  const head = ['BACKUP', 'FINISHED', 'CLUSTER', 'REVISION', 'SIZE'];
  if (wantsJson(context, flags)) context.io.out(jsonLine({ backups, copies }));
  else if (rows.length === 0) context.io.err(`no backups and no copies in ${where}\n`);
  else printRows(context, head, rows, undefined);
}

export async function verify(
  context: Context,
  where: string,
  flags: StoreFlags & { readonly backup?: string },
): Promise<void> {
  const { manifest, files } = await withStore(where, flags, (store) =>
    withScratch(flags, async (scratch) => {
      const chosen = await chosenBackup(store, flags.backup);
      const progress = reporter(context);
      const found = await verifyBackup({ store, manifest: chosen, scratch, progress });
      return { manifest: chosen, files: found };
    }),
  );
  const bad = files.filter((file) => file.problem !== undefined);
  if (wantsJson(context, flags)) {
    context.io.out(jsonLine({ backup: manifest.name, proven: bad.length === 0, files }));
  } else if (bad.length === 0) {
    context.io.out(`backup ${manifest.name} is proven: ${describe(manifest)}\n`);
  } else {
    const lines = bad.map((file) => `shard ${file.shard}: ${file.problem}\n`);
    context.io.out(`backup ${manifest.name} is DAMAGED:\n${lines.join('')}`);
  }
  if (bad.length > 0) throw new Exit(EXIT.server);
}
