import { existsSync, readFileSync } from 'node:fs';
import {
  type BackupManifest,
  BUMP_REVISION_DEFAULT,
  listBackups,
  type ReplayUntil,
  type RestoreReport,
  restoreCluster,
  type TargetState,
} from '@kvorum/backup';
import type { ShardId } from '@kvorum/base';
import type { SharedLogs, SnapshotStore } from '@kvorum/ports';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { InputError, IoError } from '../exit.ts';
import { askJson } from '../member-http.ts';
import { jsonLine } from '../output.ts';
import {
  addStoreFlags,
  callerOf,
  chosenBackup,
  quietMap,
  reporter,
  type StoreFlags,
  wantsJson,
  withScratch,
  withStore,
} from './backup-context.ts';

const HELP = `
Loads a backup, or the newest scheduled copies, into a NEW cluster that nobody has written to. Its
number of shards and members may differ. Keys keep their value, create and mod revision and version;
older history reads as compacted, and the revision is raised so that every watcher notices.

With the log of the old cluster (--log-dir, --log-brokers) what was written after the copies comes
along: to the end, or with --at to a moment.

Examples:
  kvctl restore /srv/backups --endpoints http://new:2379
  kvctl restore s3://bucket/copies --log-brokers kafka1:9092,kafka2:9092
  kvctl restore /srv/backups --log-dir /srv/old/log --at 2026-11-21T15:42:25Z
  kvctl restore /srv/backups --log-brokers kafka1:9092 --at 0=1200,1=998`;

interface RestoreFlags extends StoreFlags {
  readonly backup?: string;
  readonly copies?: boolean;
  readonly resume?: boolean;
  readonly at?: string;
  readonly bumpRevision?: string;
  readonly logDir?: string;
  readonly logBrokers?: string;
  readonly logPrefix?: string;
  readonly logSsl?: boolean;
  readonly logCa?: string;
  readonly logUser?: string;
  readonly logPasswordFile?: string;
  readonly logMechanism?: string;
}

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

async function restore(context: Context, where: string, flags: RestoreFlags): Promise<void> {
  const until = parseAt(flags.at);
  const bumpRevision =
    flags.bumpRevision === undefined ? BUMP_REVISION_DEFAULT : parseCount(flags.bumpRevision);
  const caller = await callerOf(context);
  const target = await quietMap(caller);
  const report = await withStore(where, flags, (store) =>
    withLogs(flags, (logs) =>
      withScratch(flags, async (scratch) => {
        const manifest = await sourceOf(store, flags, until);
        context.io.err(`restoring ${manifest?.name ?? 'the newest copies'} of ${store.where}\n`);
        return restoreCluster({
          store,
          manifest,
          logs,
          until,
          scratch,
          target,
          bumpRevision,
          progress: reporter(context),
          nowMs: () => Date.now(),
          resume: flags.resume === true,
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
  print(context, flags, report);
}

function targetState(plain: unknown): TargetState {
  const { revision, compactRevision, loaded } = plain as Readonly<Record<string, unknown>>;
  if (typeof revision === 'number' && typeof compactRevision === 'number') {
    return { revision, compactRevision, loaded: loaded === true };
  }
  throw new IoError('a member gave no account of its shard: is it of an older version?');
}

function print(context: Context, flags: RestoreFlags, report: RestoreReport): void {
  const { from, to, keys, leased, revision } = report;
  if (wantsJson(context, flags)) {
    context.io.out(jsonLine(report));
    return;
  }
  const note = leased === 0 ? '' : `; ${leased} keys had a lease and stay without one`;
  context.io.out(
    `restored ${keys} keys from ${from.length} shards into ${to.length}, at revision ${revision}${note}\n`,
  );
}

export function addRestore(program: Command, context: Context): void {
  const command = program
    .command('restore')
    .argument('<store>')
    .description('Load a backup, or scheduled copies, into a new cluster')
    .addHelpText('after', HELP);
  flag(command, '--backup <name>', 'which one (default: the newest that suits)');
  flag(command, '--copies', 'the newest scheduled copies, even if there are backups');
  flag(command, '--resume', 'go on with the same restore after it broke off');
  flag(command, '--at <moment>', 'a time, a revision, or shard=revision,…; needs the log');
  flag(
    command,
    '--bump-revision <count>',
    `raise the revision by (default ${BUMP_REVISION_DEFAULT})`,
  );
  flag(command, '--log-dir <dir>', 'embedded log of the old cluster, which must be stopped');
  flag(command, '--log-brokers <list>', 'Kafka brokers that hold the old cluster’s topics');
  flag(command, '--log-prefix <prefix>', 'its log.topicPrefix');
  flag(command, '--log-ssl', 'TLS to the brokers');
  flag(command, '--log-ca <file>', 'CA that signed the brokers’ certificates (PEM)');
  flag(command, '--log-user <name>', 'SASL user of the brokers');
  flag(command, '--log-password-file <file>', 'file with its password');
  flag(command, '--log-mechanism <name>', 'plain, scram-sha-256 or scram-sha-512', (option) =>
    option.choices(['plain', 'scram-sha-256', 'scram-sha-512']),
  );
  addStoreFlags(command, true);
  command.action((where: string, flags: RestoreFlags) => restore(context, where, flags));
}
