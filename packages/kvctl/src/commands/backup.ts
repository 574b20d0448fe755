import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { addStoreFlags, type StoreFlags } from './store-flags.ts';

const HELP = `
STORE is a directory (a path, or dir:///path) or s3://bucket/prefix. Credentials for S3 come from
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or wherever AWS's tools find them.

Examples:
  kvctl backup save /srv/backups
  kvctl backup list /srv/backups
  kvctl backup verify /srv/backups
  kvctl restore /srv/backups --endpoints http://new-cluster:2379`;

/** Loaded only where it is used: reading copies takes most of the store's code, and so of kvctl's start. */
const work = () => import('./backup-work.ts');

export function addBackup(program: Command, context: Context): void {
  const backup = program
    .command('backup')
    .description('Save, prove and list backups of the whole cluster')
    .addHelpText('after', HELP);
  const saving = backup
    .command('save')
    .argument('<store>')
    .description('Copy every shard, while clients go on');
  flag(saving, '--name <name>', 'name of the backup (default: the time)');
  addStoreFlags(saving, false);
  saving.action(async (where: string, flags: StoreFlags & { name?: string }) =>
    (await work()).save(context, where, flags),
  );
  const verifying = backup
    .command('verify')
    .argument('<store>')
    .description('Restore a backup into a scratch directory and compare what comes out');
  flag(verifying, '--backup <name>', 'which one (default: the newest)');
  addStoreFlags(verifying, true);
  verifying.action(async (where: string, flags: StoreFlags & { backup?: string }) =>
    (await work()).verify(context, where, flags),
  );
  const listing = backup
    .command('list')
    .argument('<store>')
    .description('Backups, oldest first, and scheduled copies');
  addStoreFlags(listing, false);
  listing.action(async (where: string, flags: StoreFlags) =>
    (await work()).list(context, where, flags),
  );
}
