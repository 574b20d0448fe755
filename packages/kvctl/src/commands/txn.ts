import { fromUtf8 } from '@kvorum/base';
import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { printTxn } from '../output.ts';
import { parseTxnFile } from '../txn-file.ts';
import { parseTxnScript } from '../txn-grammar.ts';

const HELP = `
Standard input holds comparisons, a blank line, what to do when all of them hold, a blank line,
what to do otherwise:

  mod("greeting") > "0"
  value("greeting") = "hello"

  put greeting "bonjour"

  get greeting

A comparison is create, mod, version, value or lease of a key, then = != < or >, then a value.
With -f the same as JSON:

  {"compare": [{"key": "greeting", "target": "version", "result": "=", "value": 0}],
   "success": [{"op": "put", "key": "greeting", "value": "hello"}],
   "failure": [{"op": "get", "key": "greeting"}]}

All keys must lie in one shard (kvctl shard where KEY); keys with one {tag} do.`;

export function addTxn(
  program: Command,
  context: Context,
  readFile: (path: string) => string,
): void {
  const command = program
    .command('txn')
    .description('Compare, then do one or the other, atomically')
    .addHelpText('after', HELP);
  flag(command, '-f, --file <path>', 'read the transaction from a JSON file ("-": standard input)');
  flag(command, '-i, --interactive', 'say on standard error what to type next');
  command.action(async (flags: { readonly file?: string; readonly interactive?: boolean }) => {
    const { io } = context;
    if (flags.interactive === true) {
      io.err('compares, blank line, requests on success, blank line, requests on failure:\n');
    }
    const text =
      flags.file === undefined || flags.file === '-'
        ? fromUtf8(await io.stdin())
        : readFile(flags.file);
    const txn = flags.file === undefined ? parseTxnScript(text) : parseTxnFile(text);
    const result = await context.withClient((client) => client.txn(txn, context.call()));
    io.out(printTxn(context.globals().format, result));
  });
}
