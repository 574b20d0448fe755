import type { Command } from 'commander';
import { type Context, flag, oneOf } from '../context.ts';

const HELP_PERF = `
Writes keys of 256 bytes with values of 1 KiB for a minute at the pace of the load, spread over all
shards, and deletes them: s 150/s from 50 clients, m 1,000/s from 200, l 8,000/s from 500, xl 15,000/s
from 1,000. Passes when 90 % of the pace is reached, no write took above 500 ms and their standard
deviation is at most 100 ms: etcd's measure for etcd's loads. kvctl bench measures what a cluster can do.

Example:
  kvctl check perf --load m`;

const HELP_SCALE = `
Writes 10,000 (s), 100,000 (m), 1,000,000 (l) or 3,000,000 (xl) keys of 512 bytes with values of 512
bytes, tells how the memory of the first member that is asked has grown, and deletes them. Kvorum keeps
its keys on disk: memory is caches, bounded by their limits.

Example:
  kvctl check datascale --load s`;

/** What etcdctl calls a load, short and long. */
export const LOADS = ['s', 'm', 'l', 'xl', 'small', 'medium', 'large', 'xLarge'] as const;
export type Load = 's' | 'm' | 'l' | 'xl';

export interface CheckFlags {
  readonly load: (typeof LOADS)[number];
  readonly prefix: string;
  readonly duration?: string;
  readonly keys?: string;
  readonly autoCompact?: boolean;
  readonly autoDefrag?: boolean;
}

function addFlags(command: Command, prefix: string): void {
  flag(command, '--load <load>', 's(mall), m(edium), l(arge) or xl (xLarge)', (option) =>
    oneOf(option, LOADS).default('s'),
  );
  flag(command, '--prefix <text>', 'what its keys begin with; nothing may be there', (option) =>
    option.default(prefix),
  );
  flag(command, '--auto-compact', 'forget the history of its keys afterwards');
  flag(command, '--auto-defrag', 'without effect: there is nothing to defragment', (option) =>
    option.hideHelp(),
  );
}

export function addCheck(program: Command, context: Context): void {
  const check = program.command('check').description("etcd's checks of a cluster");
  const perf = check
    .command('perf')
    .description('Whether the cluster keeps up with a load')
    .addHelpText('after', HELP_PERF);
  addFlags(perf, '/kvctl-check-perf/');
  flag(perf, '--duration <time>', 'instead of a minute');
  perf.action(async (flags: CheckFlags) =>
    (await import('./check-work.ts')).checkPerf(context, flags),
  );
  const scale = check
    .command('datascale')
    .description('How much memory keys take')
    .addHelpText('after', HELP_SCALE);
  addFlags(scale, '/kvctl-check-datascale/');
  flag(scale, '--keys <n>', 'instead of those of the load');
  scale.action(async (flags: CheckFlags) =>
    (await import('./check-work.ts')).checkDatascale(context, flags),
  );
}
