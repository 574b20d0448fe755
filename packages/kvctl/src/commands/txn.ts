import { fromUtf8 } from '@kvorum/base';
import type { TxnInit } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { type Io, linesOf } from '../io.ts';
import { printTxn } from '../output.ts';
import { parseTxnFile } from '../txn-file.ts';
import { TxnScript, type TxnSection } from '../txn-grammar.ts';

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

The operations are put, get and del with the flags of these commands. A blank line behind the third part ends
it, as the end of the input does.

All keys must lie in one shard (kvctl shard where KEY); keys with one {tag} do.`;

const PROMPTS: Readonly<Record<TxnSection, string>> = {
  compare: 'compares:',
  success: 'success requests (get, put, del):',
  failure: 'failure requests (get, put, del):',
};

/** Up to the blank line behind the third section: a person at a terminal need not end the input. */
async function readScript(io: Io, interactive: boolean): Promise<TxnInit> {
  const script = new TxnScript();
  let asked: TxnSection | undefined;
  const prompt = (): void => {
    const { section } = script;
    if (interactive && section !== undefined && section !== asked) io.err(`${PROMPTS[section]}\n`);
    asked = section;
  };
  prompt();
  for await (const line of linesOf(io.stdinPieces())) {
    script.push(line);
    if (script.section === undefined) break;
    prompt();
  }
  return script.txn;
}

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
    const file = flags.file;
    const read = async (path: string): Promise<string> =>
      path === '-' ? fromUtf8(await io.stdin()) : readFile(path);
    const txn =
      file === undefined
        ? await readScript(io, flags.interactive === true)
        : parseTxnFile(await read(file));
    const result = await context.withClient((client) => client.txn(txn, context.call()));
    io.out(printTxn(context.globals(), result));
  });
}
