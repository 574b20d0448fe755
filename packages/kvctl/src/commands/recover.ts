import type { RecoveryLossInfo, RecoveryReplica, RecoveryView } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { InputError } from '../exit.ts';
import { jsonLine } from '../output.ts';
import { drawTable } from '../table.ts';

const HEAD = [
  'MEMBER',
  'GENERATION',
  'INDEX',
  'REVISION',
  'TERM',
  'CHAIN HASH',
  'STATE HASH',
  'CONDITION',
];

function replicaRow(one: RecoveryReplica): readonly string[] {
  if (one.error !== undefined) return [one.member, '', '', '', '', '', '', one.error];
  const condition = one.halted === undefined ? (one.leads ? 'leads' : 'follows') : 'halted';
  const reason = one.halted === undefined ? '' : ` ${one.halted.split(':')[0] ?? ''}`;
  const numbers = [one.generation, one.index, one.revision, one.term].map((n) => String(n ?? ''));
  const hashes = [one.chainHash ?? '', one.stateHash ?? ''];
  return [one.member, ...numbers, ...hashes, `${condition}${reason}`];
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

function lossLine({ member, records, relation, revisions }: RecoveryLossInfo): string {
  const bound = relation === 'differs' || relation === 'unknown' ? 'at least ' : '';
  const lost = `${bound}${count(records, 'record')} and ${count(revisions, 'revision')}`;
  switch (relation) {
    case 'same':
      return `  ${member}: nothing, it holds the same`;
    case 'behind':
      return `  ${member}: nothing, it holds less`;
    case 'older':
      return `  ${member}: nothing of this generation, it missed the last recovery`;
    case 'differs':
      return `  ${member}: another history: ${lost} of it`;
    case 'unknown':
      return records === 0
        ? `  ${member}: not known to hold more`
        : `  ${member}: ${lost}; whether the rest is the same is not known`;
    default:
      return `  ${member}: ${lost}`;
  }
}

/** What an operator reads before deciding. */
function viewText(view: RecoveryView, from: string | undefined): string {
  const { choice, losses, refused, shard } = view;
  const chosen = from ?? choice?.member;
  const lines = [`Shard ${shard}, generation ${view.generation} of its log`];
  lines.push(drawTable(HEAD, view.replicas.map(replicaRow)).trimEnd());
  if (view.replicas.some(({ leads }) => leads === true) && refused !== undefined) {
    // Nothing is wrong: no replica has to be chosen.
    return `${lines.join('\n')}\n${refused}\n`;
  }
  if (choice !== undefined) lines.push(`Suggested: ${choice.member} (${choice.why})`);
  if (chosen !== undefined && losses.length > 0) {
    lines.push(`Lost when the shard goes on from ${chosen}:`, ...losses.map(lossLine));
  }
  const silent = view.replicas.filter(({ error }) => error !== undefined);
  if (silent.length > 0) {
    const names = silent.map(({ member }) => member).join(', ');
    lines.push(`Not known: what ${names} held`);
  }
  if (refused !== undefined) lines.push(`Not possible now: ${refused}`);
  else if (chosen !== undefined) {
    lines.push(`To do it: kvctl shard recover ${shard} --from ${chosen} --yes`);
  }
  return `${lines.join('\n')}\n`;
}

/** `shard recover`: a shard whose log is lost goes on from one replica, in a new generation of its log. */
export function addRecover(shard: Command, context: Context): void {
  const command = shard
    .command('recover')
    .argument('<shard>')
    .description('Let a halted shard go on from one of its replicas')
    .addHelpText(
      'after',
      '\nWithout --yes nothing is changed: it shows every replica, which one to take, and what is lost.',
    );
  flag(command, '--from <member>', 'the member whose replica the shard goes on from');
  flag(command, '--yes', 'do it');
  command.action(async (id: string, flags: { from?: string; yes?: boolean }) => {
    const { from, yes } = flags;
    if (yes === true && from === undefined) throw new InputError('--yes needs --from MEMBER');
    const params = {
      shard: id,
      ...(from === undefined ? {} : { from }),
      ...(yes === true ? { apply: true } : {}),
    };
    const view = await context.withClient((client) => client.recoverShard(params, context.call()));
    if (context.globals().format === 'json') context.io.out(jsonLine(view));
    else if (!view.applied) context.io.out(viewText(view, from));
    else {
      context.io.out(
        `Shard ${id} goes on from ${from} in generation ${view.generation} of its log\n` +
          `Its revisions begin above ${view.revision}; older ones are compacted\n`,
      );
    }
  });
}
