import type { Entry } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { advise, InputError } from '../exit.ts';
import { bytesField, jsonLine, shown } from '../output.ts';
import { entriesOf } from '../pages.ts';
import { paired } from '../paired.ts';

type Change = 'added' | 'removed' | 'changed';
const SIGNS: Readonly<Record<Change, string>> = { added: '+', removed: '-', changed: '~' };

function changeOf(before: Entry | undefined, after: Entry | undefined): Change | undefined {
  if (before === undefined) return 'added';
  if (after === undefined) return 'removed';
  return before.modRevision === after.modRevision ? undefined : 'changed';
}

function lineOf(change: Change, before: Entry | undefined, after: Entry | undefined): string {
  const key = shown((after ?? before)?.key ?? new Uint8Array());
  const revisions =
    change === 'changed'
      ? `  ${before?.modRevision} -> ${after?.modRevision}`
      : `  ${(after ?? before)?.modRevision}`;
  return `${SIGNS[change]} ${key}${revisions}\n`;
}

/** `diff [prefix] --rev A --to B`: what was written, however it ended up; values stay where they are. */
export function addDiff(program: Command, context: Context): void {
  const command = program
    .command('diff')
    .argument('[prefix]', 'only keys that begin with it')
    .description('Show which keys changed between two revisions of one shard')
    .addHelpText(
      'after',
      '\nPrints + for new keys, - for deleted ones, ~ for rewritten ones, with their revisions.\n' +
        "\nExamples:\n  kvctl diff '{user1}/' --rev 120\n  kvctl diff --shard 2 --rev 120 --to 150",
    );
  flag(command, '--rev <revision>', 'the earlier revision');
  flag(command, '--to <revision>', 'the later revision (default: now)');
  flag(command, '--shard <shard>', 'only what this shard holds (needed for a range over several)');
  interface Flags {
    readonly rev?: string;
    readonly to?: string;
    readonly shard?: string;
  }
  command.action(async (prefix: string | undefined, { rev, to, shard }: Flags) => {
    if (rev === undefined) throw new InputError('no --rev', 'kvctl diff PREFIX --rev REVISION');
    const range = { prefix: prefix ?? '' };
    const { format } = context.globals();
    await context
      .withClient(async (client) => {
        const side = (revision: string | undefined): AsyncIterator<Entry, undefined> => {
          const at = revision === undefined ? undefined : parseCount(revision);
          const options = { keysOnly: true, shard, revision: at };
          return entriesOf(client, range, options, context.call);
        };
        for await (const [before, after] of paired(side(rev), side(to))) {
          const change = changeOf(before, after);
          if (change === undefined) continue;
          const key = (after ?? before)?.key ?? new Uint8Array();
          const json = {
            change,
            ...bytesField('key', key),
            before: before?.modRevision ?? null,
            after: after?.modRevision ?? null,
          };
          context.io.out(format === 'json' ? jsonLine(json) : lineOf(change, before, after));
        }
      })
      .catch(advise('KV_CROSS_SHARD', 'kvctl diff --shard SHARD …   # one shard at a time'));
  });
}
