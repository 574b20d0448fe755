import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';

const HELP_EXPORT = `
Every shard is read as it was when its first key was read. One JSON object a line, as get -w json has
them, in the order of the keys; kvctl import reads them, and so does jq. Keys and values alone: users,
roles and history are in a backup (kvctl backup).

Examples:
  kvctl export -o all.jsonl
  kvctl export app/ | gzip > app.jsonl.gz
  kvctl export app/ | jq -r .key`;

const HELP_IMPORT = `
Lines are put as they come, some hundred at a time, so that a file may be of any size; the same key
twice is put in the order of the file. What broke off goes on with --from-line.

Examples:
  kvctl import all.jsonl
  gunzip < app.jsonl.gz | kvctl import - --strip-prefix app/ --add-prefix copy/
  kvctl import all.jsonl --prefix app/ --dry-run`;

/** Loaded only where it is used. */
const work = () => import('./transfer-work.ts');

export interface ExportFlags {
  readonly output?: string;
  readonly rev?: string;
  readonly shard?: string;
  readonly leases?: boolean;
}

export function addExport(program: Command, context: Context): void {
  const command = program
    .command('export')
    .argument('[prefix]', 'only keys that begin with it')
    .description('Write keys and values as JSON lines')
    .addHelpText('after', HELP_EXPORT);
  flag(command, '-o, --output <file>', 'write to a file, which is there once it is whole');
  flag(command, '--rev <revision>', "as of this revision of the keys' shard");
  flag(command, '--shard <shard>', 'only what this shard holds (needed for --rev over several)');
  flag(command, '--leases', 'with the time of each lease, so that an import can make it again');
  command.action(async (prefix: string | undefined, flags: ExportFlags) =>
    (await work()).exportKeys(context, prefix ?? '', flags),
  );
}

export interface ImportFlags {
  readonly prefix?: string;
  readonly stripPrefix?: string;
  readonly addPrefix?: string;
  readonly dryRun?: boolean;
  readonly skipExisting?: boolean;
  readonly leases?: boolean;
  readonly fromLine?: string;
}

export function addImport(program: Command, context: Context): void {
  const command = program
    .command('import')
    .argument('<file>', '"-": standard input')
    .description('Put what kvctl export has written')
    .addHelpText('after', HELP_IMPORT);
  flag(command, '--prefix <text>', 'only keys that begin with it');
  flag(command, '--strip-prefix <text>', 'leave this out at the beginning of keys');
  flag(command, '--add-prefix <text>', 'put this before every key');
  flag(command, '--dry-run', 'only say what would be new, changed, or is there already');
  flag(command, '--skip-existing', 'leave keys alone that are there');
  flag(command, '--leases', 'make the leases again; without it keys of a lease get none');
  flag(command, '--from-line <n>', 'begin with this line of the file');
  command.action(async (file: string, flags: ImportFlags) =>
    (await work()).importKeys(context, file, flags),
  );
}
