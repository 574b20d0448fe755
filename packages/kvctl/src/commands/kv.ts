import { leaseId } from '@kvorum/base';
import type { KeyRange, RangeOptions } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, oneOf, parseCount } from '../context.ts';
import { advise, InputError } from '../exit.ts';
import { printDelete, printPut, printRange } from '../output.ts';
import { pagesOf } from '../pages.ts';
import { parseLease, SORT_TARGETS, targetOf } from '../txn-grammar.ts';

interface RangeFlags {
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
}

function addRangeFlags(command: Command): void {
  flag(command, '--prefix', 'every key that starts with KEY');
  flag(command, '--from-key', 'every key from KEY on, in byte order');
}

const EXAMPLES_PUT = `
Examples:
  kvctl put greeting hello
  kvctl put config - < app.yaml       the value from standard input
  kvctl put flag ""                   an empty value`;

export function addPut(program: Command, context: Context): void {
  const command = program
    .command('put')
    .argument('<key>')
    .argument('[value]', 'absent or "-": read it from standard input')
    .description('Store a value under a key')
    .addHelpText('after', EXAMPLES_PUT);
  flag(command, '--prev-kv', 'print what the key held before');
  flag(command, '--lease <id>', 'lease to attach the key to (hex)');
  flag(command, '--ignore-value', "keep the key's value, change only its lease");
  flag(command, '--ignore-lease', "keep the key's lease");
  interface Flags {
    readonly prevKv?: boolean;
    readonly lease?: string;
    readonly ignoreValue?: boolean;
    readonly ignoreLease?: boolean;
  }
  command.action(async (key: string, value: string | undefined, flags: Flags) => {
    const fromStdin = flags.ignoreValue !== true && (value === undefined || value === '-');
    const stored = fromStdin ? await context.io.stdin() : (value ?? '');
    // In a script standard input is often empty by accident; "-" asks for it, whatever it holds.
    if (fromStdin && value === undefined && stored.length === 0) {
      throw new InputError(
        'no value: none was given, and standard input is empty',
        `kvctl put ${key} VALUE   # or kvctl put ${key} "" to store an empty value`,
      );
    }
    const result = await context.withClient((client) =>
      client.put(key, stored, {
        ...context.call(),
        prevKv: flags.prevKv,
        lease: flags.lease === undefined ? undefined : leaseId(parseLease(flags.lease)),
        ignoreValue: flags.ignoreValue,
        ignoreLease: flags.ignoreLease,
      }),
    );
    context.io.out(printPut(context.globals(), result));
  });
}

interface GetFlags extends RangeFlags {
  readonly limit?: string;
  readonly rev?: string;
  readonly sortBy?: string;
  readonly order?: 'ASCEND' | 'DESCEND';
  readonly minModRev?: string;
  readonly maxModRev?: string;
  readonly minCreateRev?: string;
  readonly maxCreateRev?: string;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly allPages?: boolean;
  readonly printValueOnly?: boolean;
  readonly consistency: 'l' | 's';
  readonly shard?: string;
}

function rangeOptions(flags: GetFlags): RangeOptions {
  if (flags.keysOnly === true && flags.countOnly === true) {
    throw new InputError('--keys-only and --count-only exclude each other');
  }
  const sortTarget = flags.sortBy === undefined ? undefined : SORT_TARGETS.get(flags.sortBy);
  const ascend = sortTarget === undefined ? undefined : 'ascend';
  return {
    limit: flags.limit === undefined ? undefined : parseCount(flags.limit),
    revision: flags.rev === undefined ? undefined : parseCount(flags.rev),
    sortTarget,
    sortOrder:
      flags.order === undefined ? ascend : flags.order === 'DESCEND' ? 'descend' : 'ascend',
    keysOnly: flags.keysOnly,
    countOnly: flags.countOnly,
    serializable: flags.consistency === 's' ? true : undefined,
    shard: flags.shard,
    ...revisionBounds(flags, 'mod'),
    ...revisionBounds(flags, 'create'),
  };
}

/** `--min-mod-rev` and its like; 0 bounds nothing. Errors: InputError when nothing can lie between. */
function revisionBounds(flags: GetFlags, kind: 'mod' | 'create'): RangeOptions {
  const [minText, maxText] =
    kind === 'mod' ? [flags.minModRev, flags.maxModRev] : [flags.minCreateRev, flags.maxCreateRev];
  const min = minText === undefined ? 0 : parseCount(minText);
  const max = maxText === undefined ? 0 : parseCount(maxText);
  if (max > 0 && min > max) {
    throw new InputError(`--min-${kind}-rev ${min} is above --max-${kind}-rev ${max}`);
  }
  return kind === 'mod'
    ? { minModRevision: min || undefined, maxModRevision: max || undefined }
    : { minCreateRevision: min || undefined, maxCreateRevision: max || undefined };
}

/** Of any size: neither the member nor kvctl holds more than a page of it. */
async function printPages(
  context: Context,
  target: ReturnType<typeof targetOf>,
  flags: GetFlags,
): Promise<void> {
  if (!isRange(target)) throw new InputError('--all-pages is for ranges', 'add --prefix');
  if (flags.sortBy !== undefined || flags.order !== undefined || flags.countOnly === true) {
    throw new InputError('--all-pages prints in key order: no --sort-by, --order or --count-only');
  }
  const { minModRev, maxModRev, minCreateRev, maxCreateRev } = flags;
  if ([minModRev, maxModRev, minCreateRev, maxCreateRev].some((text) => text !== undefined)) {
    throw new InputError('--all-pages prints every key: no --min-mod-rev and its like');
  }
  const pageKeys = flags.limit === undefined ? {} : { pageKeys: parseCount(flags.limit) };
  const { keysOnly, serializable, shard, revision } = rangeOptions(flags);
  const options = {
    ...pageKeys,
    keysOnly: keysOnly === true,
    serializable: serializable === true,
    shard,
    revision,
  };
  const view = { valueOnly: flags.printValueOnly === true, countOnly: false };
  await context.withClient(async (client) => {
    for await (const page of pagesOf(client, target, options, context.call)) {
      context.io.out(printRange(context.globals(), page, view));
    }
  });
}

export function addGet(program: Command, context: Context): void {
  const command = program
    .command('get')
    .argument('<key>')
    .argument('[rangeEnd]', 'first key behind the range')
    .description('Read a key or a range; prints nothing for what does not exist')
    .addHelpText(
      'after',
      '\nExamples:\n  kvctl get greeting\n  kvctl get user/ --prefix --keys-only',
    );
  addRangeFlags(command);
  flag(command, '--limit <n>', 'keys to print at most');
  flag(command, '--rev <revision>', "read as of this revision of the keys' shard");
  flag(command, '--sort-by <target>', 'order of the keys', (option) =>
    oneOf(option, [...SORT_TARGETS.keys()]),
  );
  flag(command, '--order <order>', 'direction of the order', (option) =>
    oneOf(option, ['ASCEND', 'DESCEND']),
  );
  for (const kind of ['mod', 'create']) {
    flag(
      command,
      `--min-${kind}-rev <revision>`,
      `only keys with this ${kind} revision or a later one`,
    );
    flag(
      command,
      `--max-${kind}-rev <revision>`,
      `only keys with this ${kind} revision or an earlier one`,
    );
  }
  flag(command, '--keys-only', 'print keys without their values');
  flag(command, '--count-only', 'print how many keys there are');
  flag(command, '--all-pages', 'print a range page by page (--limit: keys of a page)');
  flag(command, '--print-value-only', 'print values without their keys');
  flag(
    command,
    '--consistency <level>',
    'l = linearizable, s = serializable (maybe stale)',
    (option) => option.choices(['l', 's']).default('l'),
  );
  flag(command, '--shard <shard>', 'only what this shard holds (needed for --rev over several)');
  command.action(async (key: string, rangeEnd: string | undefined, flags: GetFlags) => {
    const target = targetOf(key, rangeEnd, flags.prefix === true, flags.fromKey === true);
    const options = rangeOptions(flags);
    if (flags.allPages === true) {
      await printPages(context, target, flags);
      return;
    }
    const result = await context.withClient((client) =>
      client
        .range(target, { ...options, ...context.call() })
        .catch(advise('KV_CROSS_SHARD', 'kvctl get --shard SHARD …   # one shard at a time')),
    );
    const view = {
      valueOnly: flags.printValueOnly === true,
      countOnly: flags.countOnly === true,
    };
    context.io.out(printRange(context.globals(), result, view));
  });
}

interface DelFlags extends RangeFlags {
  readonly prevKv?: boolean;
  readonly eachShard?: boolean;
}

const EXAMPLES_DEL = `
A range is deleted atomically when one shard holds it; --each-shard deletes one that spans
several, shard by shard.

Examples:
  kvctl del greeting
  kvctl del '{user1}/' --prefix`;

export function addDel(program: Command, context: Context): void {
  const command = program
    .command('del')
    .argument('<key>')
    .argument('[rangeEnd]', 'first key behind the range')
    .description('Delete a key or a range; prints how many keys are gone')
    .addHelpText('after', EXAMPLES_DEL);
  addRangeFlags(command);
  flag(command, '--prev-kv', 'print what was deleted');
  flag(command, '--range', 'without effect: KEY END is a range', (option) => option.hideHelp());
  flag(command, '--each-shard', 'delete a range that spans shards: atomic in each, not over all');
  command.action(async (key: string, rangeEnd: string | undefined, flags: DelFlags) => {
    const target = targetOf(key, rangeEnd, flags.prefix === true, flags.fromKey === true);
    const options = { ...context.call(), prevKv: flags.prevKv };
    const results = await context.withClient(async (client) => {
      if (flags.eachShard === true && isRange(target)) {
        return client.deleteEachShard(target, options);
      }
      const crossShard = advise('KV_CROSS_SHARD', 'kvctl del --each-shard …   # shard by shard');
      return [await client.delete(target, options).catch(crossShard)];
    });
    context.io.out(printDelete(context.globals(), results));
  });
}

function isRange(target: string | Uint8Array | KeyRange): target is KeyRange {
  return typeof target === 'object' && !(target instanceof Uint8Array);
}
