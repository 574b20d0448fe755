import { existsSync, readFileSync } from 'node:fs';
import {
  type BackupManifest,
  BUMP_REVISION_DEFAULT,
  type ClusterMeta,
  listBackups,
  type ReplayUntil,
  type RestoreReport,
  restoreCluster,
  type TargetState,
} from '@kvorum/backup';
import type { ShardId } from '@kvorum/base';
import type { SharedLogs, SnapshotStore } from '@kvorum/ports';
import { type Context, parseCount } from '../context.ts';
import { InputError, IoError } from '../exit.ts';
import { askJson } from '../member-http.ts';
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
import type { RestoreFlags } from './restore.ts';

type Until = (shard: ShardId) => ReplayUntil;

/** A revision for all shards, `shard=revision,…`, or a time. */
export function parseAt(text: string | undefined): Until {
  if (text === undefined) return () => ({ kind: 'end' });
  if (/^\d+$/.test(text)) {
    const revision = parseCount(text);
    return () => ({ kind: 'revision', revision });
  }
  if (/^[0-9a-z]+=\d+(,[0-9a-z]+=\d+)*$/.test(text)) {
    const wanted = new Map(text.split(',').map((part) => part.split('=') as [string, string]));
    return (shard) => {
      const revision = wanted.get(shard);
      return revision === undefined
        ? { kind: 'end' }
        : { kind: 'revision', revision: parseCount(revision) };
    };
  }
  const timeMs = Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(timeMs))
    return () => ({ kind: 'time', timeMs });
  throw new InputError(
    `"${text}" is neither a revision nor a time`,
    'write 1200, 0=1200,1=998 or 2026-11-21T15:42:25Z',
  );
}

async function openKafka(brokers: string, flags: RestoreFlags): Promise<SharedLogs> {
  // Loaded only where it is used: the Kafka client costs memory and start time.
  const { openKafkaLogs } = await import('@kvorum/log-kafka');
  const { logUser, logPasswordFile, logMechanism, logCa, logSsl } = flags;
  const read = (file: string): string => readFileSync(file, 'utf8');
  const ca = logCa === undefined ? undefined : { ca: read(logCa) };
  const sasl =
    logUser === undefined || logPasswordFile === undefined
      ? undefined
      : {
          mechanism: (logMechanism ?? 'scram-sha-512') as 'scram-sha-512',
          username: logUser,
          password: read(logPasswordFile).trimEnd(),
        };
  return openKafkaLogs({
    brokers: brokers.split(',').filter((broker) => broker !== ''),
    topicPrefix: `${flags.logPrefix ?? ''}raft-log-`,
    clientId: 'kvctl-restore',
    // Only read here: however few copies a topic has, its records are what they are.
    dev: true,
    ...(logSsl === true || ca !== undefined ? { ssl: ca ?? true } : {}),
    ...(sasl === undefined ? {} : { sasl }),
  });
}

async function closing<T>(
  logs: { readonly close: () => Promise<void> },
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } finally {
    await logs.close();
  }
}

async function withLogs<T>(
  flags: RestoreFlags,
  run: (logs: SharedLogs | undefined) => Promise<T>,
): Promise<T> {
  const { logDir, logBrokers } = flags;
  if (logDir !== undefined && logBrokers !== undefined) {
    throw new InputError('--log-dir and --log-brokers exclude each other');
  }
  if (logDir === undefined && logBrokers === undefined) {
    if (flags.at === undefined) return run(undefined);
    throw new InputError('--at needs the log of the old cluster', 'add --log-brokers or --log-dir');
  }
  if (logBrokers !== undefined) {
    const logs = await openKafka(logBrokers, flags);
    return closing(logs, run(logs));
  }
  const directory = logDir ?? '';
  if (!existsSync(directory)) throw new InputError(`no log in ${directory}`);
  const { openLocalLogs } = await import('@kvorum/log-local');
  const topicPrefix = `${flags.logPrefix ?? ''}raft-log-`;
  const logs = await openLocalLogs({ directory, topicPrefix });
  return closing(logs, run(logs.forMember()));
}

/** Undefined: the scheduled copies. The newest backup that is not younger than a wanted time. */
async function sourceOf(
  store: SnapshotStore,
  flags: RestoreFlags,
  until: Until,
): Promise<BackupManifest | undefined> {
  if (flags.copies === true) return undefined;
  if (flags.backup !== undefined) return chosenBackup(store, flags.backup);
  const fits = (manifest: BackupManifest): boolean =>
    manifest.files.every((file) => {
      const wanted = until(file.shard);
      if (wanted.kind === 'time') return Date.parse(manifest.finishedAt) <= wanted.timeMs;
      return wanted.kind === 'end' || file.shard === 'meta' || file.revision <= wanted.revision;
    });
  const newest = (await listBackups(store)).filter(fits).at(-1);
  if (newest !== undefined || (await store.shards()).length > 0) return newest;
  throw new InputError(`nothing in ${store.where} to restore from`);
}

/** @param sourceMeta - of the old cluster, where there is no copy of its meta shard. */
export async function restore(
  context: Context,
  where: string,
  flags: RestoreFlags,
  sourceMeta?: ClusterMeta,
): Promise<void> {
  const until = parseAt(flags.at);
  const bumpRevision =
    flags.bumpRevision === undefined ? BUMP_REVISION_DEFAULT : parseCount(flags.bumpRevision);
  const caller = await callerOf(context);
  const target = await quietMap(caller);
  let auth: RestoredAuth | undefined;
  const report = await withStore(where, flags, (store) =>
    withLogs(flags, (logs) =>
      withScratch(flags, async (scratch) => {
        const manifest = await sourceOf(store, flags, until);
        context.io.err(`restoring ${manifest?.name ?? 'the newest copies'} of ${store.where}\n`);
        return restoreCluster({
          store,
          manifest,
          sourceMeta,
          logs,
          until,
          scratch,
          target,
          bumpRevision,
          progress: reporter(context),
          nowMs: () => Date.now(),
          resume: flags.resume === true,
          restoreAuth: async (bytes) => {
            if (flags.withoutAuth === true) {
              context.io.err(
                'users and roles stay behind: set them up before anybody else comes\n',
              );
              return;
            }
            const body = { type: 'application/octet-stream', bytes };
            auth = (await askJson(caller('/v1/restore/auth', body))) as RestoredAuth;
          },
          inspect: async (shard) => targetState(await askJson(caller(`/v1/restore/${shard}`))),
          upload: async (shard, bytes) => {
            const body = { type: 'application/octet-stream', bytes };
            await askJson(caller(`/v1/restore/${shard}`, body));
          },
          finish: async (shard, revision) => {
            const bytes = Buffer.from(JSON.stringify({ revision }));
            const body = { type: 'application/json', bytes };
            await askJson(caller(`/v1/restore/${shard}/finish`, body));
          },
        });
      }),
    ),
  );
  print(context, flags, report, auth);
}

/** Users and roles that the new cluster has got. */
interface RestoredAuth {
  readonly enabled: boolean;
  readonly users: number;
  readonly roles: number;
}

function targetState(plain: unknown): TargetState {
  const { revision, compactRevision, loaded } = plain as Readonly<Record<string, unknown>>;
  if (typeof revision === 'number' && typeof compactRevision === 'number') {
    return { revision, compactRevision, loaded: loaded === true };
  }
  throw new IoError('a member gave no account of its shard: is it of an older version?');
}

function print(
  context: Context,
  flags: RestoreFlags,
  report: RestoreReport,
  auth: RestoredAuth | undefined,
): void {
  const { from, to, keys, leased, revision } = report;
  if (wantsJson(context, flags)) {
    context.io.out(jsonLine(auth === undefined ? report : { ...report, auth }));
    return;
  }
  const note = leased === 0 ? '' : `; ${leased} keys had a lease and stay without one`;
  context.io.out(
    `restored ${keys} keys from ${from.length} shards into ${to.length}, at revision ${revision}${note}\n`,
  );
  if (auth === undefined) return;
  const { enabled, users, roles } = auth;
  const state = enabled ? 'authorization is enabled' : 'authorization is not enabled';
  context.io.out(`${state}, as it was, with ${users} users and ${roles} roles\n`);
}
