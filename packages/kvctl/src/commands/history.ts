import { type Entry, isKvError, type KvorumClient } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { jsonLine, jsonOfEntry, shown } from '../output.ts';
import { printRows } from './rows.ts';

const LIMIT = 20;

/** The key as it was at `revision`, or undefined when there was none or nobody knows any more. */
async function versionAt(
  client: KvorumClient,
  key: string,
  revision: number | undefined,
  context: Context,
): Promise<Entry | undefined> {
  try {
    return await client.get(key, { revision, ...context.call() });
  } catch (error) {
    if (isKvError(error) && error.code === 'KV_COMPACTED') return undefined;
    throw error;
  }
}

/** The versions of a key since it was created, the newest first, as far as compactions have left them. */
async function versionsOf(
  client: KvorumClient,
  key: string,
  { revision, limit }: { readonly revision: number | undefined; readonly limit: number },
  context: Context,
): Promise<readonly Entry[]> {
  const found: Entry[] = [];
  let entry = await versionAt(client, key, revision, context);
  while (entry !== undefined && found.push(entry) < limit && entry.version > 1) {
    entry = await versionAt(client, key, entry.modRevision - 1, context);
  }
  return found;
}

export function addHistory(program: Command, context: Context): void {
  const command = program
    .command('history')
    .argument('<key>')
    .description('Show the versions of a key since it was created, the newest first')
    .addHelpText(
      'after',
      '\nCompactions take old versions away; kvctl audit --key KEY reads them from the log.\n' +
        '\nExamples:\n  kvctl history config/app\n  kvctl history config/app --rev 120 --limit 1',
    );
  flag(command, '--limit <n>', `versions to show at most (${LIMIT})`);
  flag(command, '--rev <revision>', 'begin with what the key was at this revision');
  interface Flags {
    readonly limit?: string;
    readonly rev?: string;
  }
  command.action(async (key: string, flags: Flags) => {
    const limit = flags.limit === undefined ? LIMIT : Math.max(1, parseCount(flags.limit));
    const revision = flags.rev === undefined ? undefined : parseCount(flags.rev);
    const versions = await context.withClient((client) =>
      versionsOf(client, key, { revision, limit }, context),
    );
    if (context.globals().format === 'json') {
      context.io.out(versions.map((entry) => jsonLine(jsonOfEntry(entry))).join(''));
      return;
    }
    const rows = versions.map((entry) => [
      String(entry.modRevision),
      String(entry.version),
      shown(entry.value),
    ]);
    printRows(context, ['REVISION', 'VERSION', 'VALUE'], rows, versions);
  });
}
