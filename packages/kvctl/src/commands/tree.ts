import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { addKey, emptyNode, type KeyNode } from '../key-tree.ts';
import { jsonLine } from '../output.ts';
import { entriesOf } from '../pages.ts';
import { bytesText, printRows } from './rows.ts';

const DEPTH = 3;
const DU_DEPTH = 1;

interface Flags {
  readonly depth?: string;
  readonly shard?: string;
}

async function readTree(
  context: Context,
  prefix: string,
  options: {
    readonly depth: number;
    readonly keysOnly: boolean;
    readonly shard: string | undefined;
  },
): Promise<KeyNode> {
  const { depth, keysOnly, shard } = options;
  const root = emptyNode(prefix);
  await context.withClient(async (client) => {
    const entries = entriesOf(client, { prefix }, { keysOnly, shard }, context.call);
    for await (const entry of entries) addKey(root, entry, prefix, depth);
  });
  return root;
}

const keysText = (keys: number): string => (keys === 1 ? '1 key' : `${keys} keys`);

function drawn({ children }: KeyNode, indent: string): string {
  const nodes = [...children.values()];
  return nodes
    .map((node, i) => {
      const last = i === nodes.length - 1;
      const count = node.name.endsWith('/') ? `  ${keysText(node.keys)}` : '';
      const line = `${indent}${last ? '└─ ' : '├─ '}${node.name}${count}\n`;
      return line + drawn(node, `${indent}${last ? '   ' : '│  '}`);
    })
    .join('');
}

function jsonOf({ name, keys, children }: KeyNode): object {
  const inside = [...children.values()].map(jsonOf);
  return { name, keys, ...(inside.length === 0 ? {} : { children: inside }) };
}

export function addTree(program: Command, context: Context): void {
  const command = program
    .command('tree')
    .argument('[prefix]', 'only keys that begin with it')
    .description('Show keys as directories, by their slashes')
    .addHelpText('after', '\nExamples:\n  kvctl tree\n  kvctl tree /registry/ --depth 2');
  flag(command, '--depth <n>', `levels to show; deeper keys are counted (${DEPTH})`);
  flag(command, '--shard <shard>', 'only what this shard holds');
  command.action(async (prefix: string | undefined, flags: Flags) => {
    const depth = flags.depth === undefined ? DEPTH : parseCount(flags.depth);
    const { shard } = flags;
    const root = await readTree(context, prefix ?? '', { depth, keysOnly: true, shard });
    if (context.globals().format === 'json') context.io.out(jsonLine(jsonOf(root)));
    else
      context.io.out(
        `${root.name === '' ? '.' : root.name}  ${keysText(root.keys)}\n${drawn(root, '')}`,
      );
  });
}

interface Row {
  readonly path: string;
  readonly keys: number;
  readonly bytes: number;
}

function rowsOf(node: KeyNode, path: string): Row[] {
  const { keys, bytes, children } = node;
  const below = [...children.values()].filter(({ name }) => name.endsWith('/'));
  return [...below.flatMap((child) => rowsOf(child, path + child.name)), { path, keys, bytes }];
}

export function addDu(program: Command, context: Context): void {
  const command = program
    .command('du')
    .argument('[prefix]', 'only keys that begin with it')
    .description('Count keys and bytes by directory, the largest first; reads every value')
    .addHelpText('after', '\nExamples:\n  kvctl du\n  kvctl du /registry/ --depth 2');
  flag(command, '--depth <n>', `levels of directories to tell apart (${DU_DEPTH})`);
  flag(command, '--shard <shard>', 'only what this shard holds');
  command.action(async (prefix: string | undefined, flags: Flags) => {
    const depth = flags.depth === undefined ? DU_DEPTH : parseCount(flags.depth);
    const { shard } = flags;
    const root = await readTree(context, prefix ?? '', { depth, keysOnly: false, shard });
    const rows = rowsOf(root, root.name).sort((a, b) => b.bytes - a.bytes);
    const lines = rows.map(({ path, keys, bytes }) => [
      bytesText(bytes),
      keysText(keys),
      path === '' ? '.' : path,
    ]);
    printRows(context, ['SIZE', 'KEYS', 'DIRECTORY'], lines, rows);
  });
}
