import type { Command } from 'commander';
import { type Context, flag } from '../context.ts';
import { jsonLine } from '../output.ts';

export function addLogExclude(log: Command, context: Context): void {
  const command = log
    .command('exclude')
    .argument('<member>', 'name or id')
    .description(
      'Let the log keep no records for a dead member: back again, it installs a snapshot',
    );
  flag(command, '--cancel', 'keep records for it again');
  command.action(async (member: string, { cancel }: { cancel?: boolean }) => {
    const params = { kind: 'exclude', member, ...(cancel === true ? { cancel } : {}) } as const;
    const done = await context.withClient((client) => client.changeMember(params, context.call()));
    if (context.globals().format === 'json') context.io.out(jsonLine(done));
    else if (cancel === true) context.io.out(`The log keeps records for ${member} again\n`);
    else context.io.out(`The log no longer keeps records for ${member} (${done.id})\n`);
  });
}
