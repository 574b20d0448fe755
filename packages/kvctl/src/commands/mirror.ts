import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';

const HELP = `
First copies what differs, in the order of the keys, then goes on with every change until interrupted
(exit code 5), or until --timeout is over when it is given (0). Changes of one shard arrive in their
order, those of one revision together as far as the destination has their keys in one shard. Keys get
no lease there. Every 30 seconds it prints how many keys it has put or deleted, as etcdctl does.

With --state FILE it writes down how far it is, and goes on there the next time. Both ends are
clusters of Kvorum of any shape; from an etcd use etcdctl make-mirror.

Examples:
  kvctl make-mirror other:2379 --prefix app/
  kvctl make-mirror other:2379 --prefix app/ --dest-prefix copy/ --state /var/lib/app.mirror
  kvctl make-mirror other:2379 --once --prune      a copy, and nothing else there`;

export interface MirrorFlags {
  readonly prefix: string;
  /** False: --no-dest-prefix. */
  readonly destPrefix?: string | false;
  readonly rev?: string;
  readonly shardRev?: string;
  readonly maxTxnOps: string;
  readonly once?: boolean;
  readonly prune?: boolean;
  readonly state?: string;
  readonly destUser?: string;
  readonly destPassword?: string;
  readonly destCacert?: string;
  readonly destCert?: string;
  readonly destKey?: string;
}

export function addMakeMirror(program: Command, context: Context): void {
  const command = program
    .command('make-mirror')
    .argument('<destination>', 'members of the other cluster, separated by commas')
    .description('Keep a copy of keys in another cluster')
    .addHelpText('after', HELP);
  flag(command, '--prefix <text>', 'only keys that begin with it', (option) => option.default(''));
  flag(command, '--dest-prefix <text>', 'what they begin with there (default: the same)');
  flag(command, '--no-dest-prefix', 'leave the prefix out there');
  flag(command, '--rev <revision>', 'no copy first: begin with the changes of this revision');
  flag(command, '--shard-rev <list>', 'the same over several shards, e.g. 0=17,1=5');
  flag(command, '--max-txn-ops <n>', 'changes in one transaction at most', (option) =>
    option.default('128'),
  );
  flag(command, '--once', 'copy and end, without what changes afterwards');
  flag(command, '--prune', 'delete keys of the destination that are not in the source');
  flag(command, '--state <file>', 'where to go on the next time');
  flag(command, '--dest-user <name>', 'user there, or user:password');
  flag(command, '--dest-password <password>', 'better in KVCTL_MAKE_MIRROR_DEST_PASSWORD');
  flag(command, '--dest-cacert <file>', 'CA of the members there (PEM)');
  flag(command, '--dest-cert <file>', 'client certificate for there (PEM)');
  flag(command, '--dest-key <file>', 'its key (PEM)');
  flag(command, '--dest-insecure-transport', 'without effect, as etcdctl has it', (option) =>
    option.hideHelp(),
  );
  command.action(async (destination: string, flags: MirrorFlags) => {
    const { makeMirror } = await import('./mirror-work.ts');
    await makeMirror(context, destination, flags);
  });
}
