import type { MemberChanged, MemberChangeParams } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { jsonLine } from '../output.ts';
import { printRows } from './rows.ts';

export function addMember(program: Command, context: Context): void {
  const member = program.command('member').description('Members of the cluster');
  addList(member, context);
  addAdd(member, context);
  addPromote(member, context);
  addRemove(member, context);
  addReplace(member, context);
  addUpdate(member, context);
  addDrain(member, context);
}

function addList(member: Command, context: Context): void {
  const list = member.command('list').description('List the members');
  flag(list, '--consistency <level>', 'without effect: any member knows', (option) =>
    option.hideHelp(),
  );
  list.action(async () => {
    const members = await context.withClient((client) => client.members(context.call()));
    const head = ['ID', 'NAME', 'PEER ADDRESS', 'CLIENT ADDRESSES'];
    const isPlain = members.every(
      ({ zone, state, started }) => !zone && !state && started !== false,
    );
    const rows = members.map(({ id, name, peerAddress, clientUrls, state, zone, started }) => {
      const plain = [id, name, peerAddress, clientUrls.join(' ')];
      const condition = started === false ? 'not started' : (state ?? 'active');
      return isPlain ? plain : [...plain, condition, zone ?? ''];
    });
    printRows(context, isPlain ? head : [...head, 'STATE', 'ZONE'], rows, members);
  });
}

async function change(
  context: Context,
  params: MemberChangeParams,
  print: (done: MemberChanged) => string,
): Promise<void> {
  const done = await context.withClient((client) => client.changeMember(params, context.call()));
  context.io.out(context.globals().format === 'json' ? jsonLine(done) : print(done));
}

/** What a new member is started with, beside what all have (log, clusterName). */
function configurationOf({ members }: MemberChanged, name: string): string {
  const lines = members.map(
    (one) => `  - { name: ${one.name}, peer: "${one.peer}", client: "${one.client}" }\n`,
  );
  return `name: ${name}\njoin: true\nmembers:\n${lines.join('')}`;
}

const voterLines = ({ shards }: MemberChanged): string =>
  shards
    .map(({ shard, voters, alive, quorum }) => {
      const silent = voters.filter((name) => !alive.includes(name));
      const note = silent.length === 0 ? '' : `; no answer from ${silent.join(', ')}`;
      return `  shard ${shard}: ${voters.join(' ')} (quorum ${quorum}${note})\n`;
    })
    .join('');

function addAdd(member: Command, context: Context): void {
  const command = member
    .command('add')
    .argument('<name>')
    .description('Let a new member join; prints what it is to be started with');
  flag(command, '--peer <host:port>', 'where the other members reach it', (option) =>
    option.makeOptionMandatory(),
  );
  flag(command, '--client <host:port>', 'where clients reach it', (option) =>
    option.makeOptionMandatory(),
  );
  flag(command, '--zone <zone>', 'where its machine stands');
  command.action(async (name: string, flags: { peer: string; client: string; zone?: string }) => {
    await change(context, { kind: 'add', member: name, ...flags }, (done) =>
      done.changed
        ? `Member ${name} (${done.id}) added to the cluster. Start its kvd with the settings of the others and\n\n` +
          configurationOf(done, name)
        : `Member ${name} was there already\n`,
    );
  });
}

function addPromote(member: Command, context: Context): void {
  member
    .command('promote')
    .argument('<member>', 'name or id')
    .description(
      'Let a member vote in the meta group too (elsewhere members vote once they have caught up)',
    )
    .action(async (name: string) => {
      await change(context, { kind: 'promote', member: name }, (done) =>
        done.changed
          ? `Member ${name} becomes a voter of the meta group once it has caught up\n`
          : `Member ${name} is a voter of the meta group\n`,
      );
    });
}

function addRemove(member: Command, context: Context): void {
  const command = member
    .command('remove')
    .argument('<member>', 'name or id')
    .description('Take a member out: its replicas move to others, then it stops');
  flag(command, '--dry-run', 'only show the voters that every shard would have');
  flag(command, '--force', 'also where a shard is left without a live majority');
  command.action(async (name: string, flags: { dryRun?: boolean; force?: boolean }) => {
    await change(context, { kind: 'remove', member: name, ...flags }, (done) =>
      flags.dryRun === true
        ? `Without ${name}:\n${voterLines(done)}`
        : `Member ${name} (${done.id}) leaves the cluster\n${voterLines(done)}`,
    );
  });
}

function addReplace(member: Command, context: Context): void {
  const command = member
    .command('replace')
    .argument('<old>', 'name or id')
    .argument('[new]', 'its successor; without it the same member comes back with an empty disk')
    .description('Let another member, or the same one with an empty disk, take the place of one');
  flag(command, '--peer <host:port>', 'of a successor that is new');
  flag(command, '--client <host:port>', 'of a successor that is new');
  flag(command, '--zone <zone>', 'of a successor that is new');
  command.action(
    async (
      old: string,
      by: string | undefined,
      flags: { peer?: string; client?: string; zone?: string },
    ) => {
      const successor = by === undefined ? {} : { by };
      const name = by ?? old;
      await change(context, { kind: 'replace', member: old, ...successor, ...flags }, (done) =>
        done.changed
          ? `Member ${name} (${done.id}) takes the place of ${old}. Unless it runs, start its kvd with an empty dataDir, the settings of the others and\n\n` +
            configurationOf(done, name)
          : `Member ${old} is being replaced already\n`,
      );
    },
  );
}

function addUpdate(member: Command, context: Context): void {
  const command = member
    .command('update')
    .argument('<member>', 'name or id')
    .description('Change the addresses or the zone of a member');
  flag(command, '--peer <host:port>', 'where the other members reach it');
  flag(command, '--client <host:port>', 'where clients reach it');
  flag(command, '--zone <zone>', 'where its machine stands');
  command.action(async (name: string, flags: { peer?: string; client?: string; zone?: string }) => {
    await change(context, { kind: 'update', member: name, ...flags }, (done) =>
      done.changed ? `Member ${name} (${done.id}) updated\n` : `Member ${name} is so already\n`,
    );
  });
}

function addDrain(member: Command, context: Context): void {
  const command = member
    .command('drain')
    .argument('<member>', 'name or id')
    .description(
      'Empty a member: its leaderships go, and its replicas where there are enough others',
    );
  flag(command, '--cancel', 'let it take its share again');
  flag(command, '--force', 'also where a shard is left without a live majority');
  command.action(async (name: string, flags: { cancel?: boolean; force?: boolean }) => {
    const text = flags.cancel === true ? 'takes its share again' : 'is being drained';
    await change(
      context,
      { kind: 'drain', member: name, ...flags },
      (done) => `Member ${name} (${done.id}) ${text}\n${voterLines(done)}`,
    );
  });
}

export function addShardMove(shard: Command, context: Context): void {
  const command = shard
    .command('move')
    .argument('<shard>')
    .description('Move one replica of a shard to another member');
  flag(command, '--from <member>', 'name or id', (option) => option.makeOptionMandatory());
  flag(command, '--to <member>', 'name or id', (option) => option.makeOptionMandatory());
  command.action(async (id: string, { from, to }: { from: string; to: string }) => {
    await context.withClient((client) =>
      client.moveReplica({ shard: id, from, to }, context.call()),
    );
    if (context.globals().format === 'json') context.io.out(jsonLine({ shard: id, from, to }));
    else context.io.out(`The replica of shard ${id} on ${from} moves to ${to}\n`);
  });
}
