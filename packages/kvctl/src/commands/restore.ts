import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { addStoreFlags, type StoreFlags } from './store-flags.ts';

const HELP = `
Loads a backup, or the newest scheduled copies, into a NEW cluster that nobody has written to. Its
number of shards and members may differ. Keys keep their value, create and mod revision and version;
older history reads as compacted, and the revision is raised so that every watcher notices.

Users and roles come along, enabled as they were: then --user must be one of them with the role root.

With the log of the old cluster (--log-dir, --log-brokers) what was written after the copies comes
along: to the end, or with --at to a moment.

Examples:
  kvctl restore /srv/backups --endpoints http://new:2379
  kvctl restore s3://bucket/copies --log-brokers kafka1:9092,kafka2:9092
  kvctl restore /srv/backups --log-dir /srv/old/log --at 2026-11-21T15:42:25Z
  kvctl restore /srv/backups --log-brokers kafka1:9092 --at 0=1200,1=998`;

export interface RestoreFlags extends StoreFlags {
  readonly backup?: string;
  readonly copies?: boolean;
  readonly resume?: boolean;
  readonly withoutAuth?: boolean;
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

export function addRestore(program: Command, context: Context): void {
  const command = program
    .command('restore')
    .argument('<store>')
    .description('Load a backup, or scheduled copies, into a new cluster')
    .addHelpText('after', HELP);
  flag(command, '--backup <name>', 'which one (default: the newest that suits)');
  flag(command, '--copies', 'the newest scheduled copies, even if there are backups');
  flag(command, '--resume', 'go on with the same restore after it broke off');
  flag(command, '--without-auth', 'leave users and roles behind: the new cluster keeps its own');
  flag(command, '--at <moment>', 'a time, a revision, or shard=revision,…; needs the log');
  flag(command, '--bump-revision <count>', 'raise the revision by (default: a thousand million)');
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
  command.action(async (where: string, flags: RestoreFlags) => {
    // Loaded only where it is used, as for backup.
    const { restore } = await import('./restore-work.ts');
    await restore(context, where, flags);
  });
}
