import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';

const HELP = `
save writes one file that holds a copy of every shard: a tar of what kvctl backup saves, so that
"tar xf FILE" gives a STORE for kvctl restore. It needs twice the room for a moment. status and restore
take it, and what etcdctl snapshot save wrote. Users and roles come along, enabled as they were: then
--user must be one of them with the role root. A file of etcd itself cannot be
read: start that etcd, then etcdctl make-mirror.

Examples:
  kvctl snapshot save /srv/kvorum.snapshot
  kvctl snapshot status /srv/kvorum.snapshot -w table
  kvctl snapshot restore /srv/kvorum.snapshot --endpoints http://new-cluster:2379`;

export interface SnapshotRestoreFlags {
  readonly bumpRevision?: string;
  readonly scratch?: string;
  readonly resume?: boolean;
  readonly withoutAuth?: boolean;
}

/** Loaded only where it is used. */
const work = () => import('./snapshot-work.ts');

export function addSnapshot(program: Command, context: Context): void {
  const snapshot = program
    .command('snapshot')
    .description('Save the whole cluster in one file, and look into such files')
    .addHelpText('after', HELP);
  snapshot
    .command('save')
    .argument('<file>')
    .description('Copy every shard into a file, while clients go on')
    .action(async (file: string) => (await work()).saveSnapshot(context, file));
  snapshot
    .command('status')
    .argument('<file>')
    .description('Check a file and tell what it holds: hash, revision, rows, size')
    .action(async (file: string) => (await work()).snapshotStatus(context, file));
  const restoring = snapshot
    .command('restore')
    .argument('<file>')
    .description('Load a file into a new cluster that nobody has written to');
  flag(restoring, '--bump-revision <count>', 'raise the revision by (default: a thousand million)');
  flag(restoring, '--scratch <dir>', 'where to put the content together (default: temporary)');
  flag(restoring, '--resume', 'go on with the same restore after it broke off');
  flag(restoring, '--without-auth', 'leave users and roles behind: the new cluster keeps its own');
  restoring.action(async (file: string, flags: SnapshotRestoreFlags) =>
    (await work()).restoreSnapshot(context, file, flags),
  );
}
