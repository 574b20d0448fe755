import { isPlain, type Plain } from '@kvorum/base';
import type { KvorumClient, ShardHash } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { askEtcd, urlOf } from '../etcd-gateway.ts';
import { EXIT, Exit, InputError, Unfinished } from '../exit.ts';
import { jsonLine } from '../output.ts';
import { memberNames, messageOf, reasonOf } from './cluster.ts';
import { printRows } from './rows.ts';

interface ClusterFlag {
  readonly cluster?: boolean;
}

function addClusterFlag(command: Command): void {
  flag(command, '--cluster', 'every member of the cluster, not only --endpoints');
}

/** The members that are meant: those of --endpoints, or all. */
async function meantBy(flags: ClusterFlag, context: Context): Promise<readonly string[]> {
  if (flags.cluster !== true) return context.globals().endpoints.map(urlOf);
  const members = await context.withClient((client) => client.members(context.call()));
  return members.flatMap(({ clientUrls: [url] }) => (url === undefined ? [] : [urlOf(url)]));
}

interface Alarm {
  /** Id as the rest of kvctl writes it: 16 hex digits. */
  readonly member: string;
  readonly alarm: string;
}

const alarmsIn = ({ alarms }: Plain): readonly Alarm[] =>
  (Array.isArray(alarms) ? alarms : []).filter(isPlain).map((one) => {
    const { ['memberID']: id = '0', alarm = 'NONE' } = one;
    return { member: BigInt(String(id)).toString(16).padStart(16, '0'), alarm: String(alarm) };
  });

function printAlarms(context: Context, alarms: readonly Alarm[]): void {
  const rows = alarms.map(({ member, alarm }) => [BigInt(`0x${member}`).toString(), alarm]);
  if (context.globals().format === 'simple') {
    // With the space behind it, as etcdctl.
    context.io.out(rows.map(([id, alarm]) => `memberID:${id} alarm:${alarm} \n`).join(''));
  } else {
    printRows(context, ['MemberID', 'AlarmType'], rows, alarms);
  }
}

export function addAlarm(program: Command, context: Context): void {
  const alarm = program.command('alarm').description('Members that have run out of space');
  const ask = async (action: string): Promise<readonly Alarm[]> =>
    alarmsIn(await askEtcd(context, { path: 'maintenance/alarm', body: { action } }));
  alarm
    .command('list')
    .description('List the alarms that are raised')
    .action(async () => printAlarms(context, await ask('GET')));
  alarm
    .command('disarm')
    .description('Ask for the alarms to end: each does by itself once there is space again')
    .action(async () => {
      const raised = await ask('DEACTIVATE');
      printAlarms(context, raised);
      if (raised.length === 0) return;
      throw new Unfinished(
        'the quota of these members is still used up',
        'kvctl compaction REVISION   # or raise limits.quotaBytes; the alarm ends by itself then',
      );
    });
}

/** `1.25ms`, as etcdctl. */
const tookText = (sinceMs: number): string =>
  `${Math.round((performance.now() - sinceMs) * 1000) / 1000}ms`;

export function addDefrag(program: Command, context: Context): void {
  const command = program
    .command('defrag')
    .description("Answers as etcd's does; the store needs none: it frees what is not used")
    .addHelpText('after', '\nSpace that a compaction made comes back by itself, within minutes.');
  addClusterFlag(command);
  command.action(async (flags: ClusterFlag) => {
    const results: { readonly endpoint: string; readonly error?: string }[] = [];
    for (const endpoint of await meantBy(flags, context)) {
      const startedMs = performance.now();
      const isPlainText = context.globals().format !== 'json';
      try {
        await askEtcd(context, { path: 'maintenance/defragment', urls: [endpoint] });
        results.push({ endpoint });
        const took = tookText(startedMs);
        if (isPlainText) {
          context.io.out(`Finished defragmenting etcd member[${endpoint}]. took ${took}\n`);
        }
      } catch (error) {
        const why = reasonOf(endpoint, error);
        results.push({ endpoint, error: why });
        const took = tookText(startedMs);
        context.io.err(`Failed to defragment etcd member[${endpoint}]. took ${took}. (${why})\n`);
      }
    }
    if (context.globals().format === 'json') context.io.out(jsonLine(results));
    if (results.some(({ error }) => error !== undefined)) throw new Exit(EXIT.server);
  });
}

interface HashRow {
  readonly endpoint: string;
  readonly shard?: string;
  readonly hash: string;
  readonly revision: number;
  /** Replicas can be compared at one index only. */
  readonly index?: number;
}

/** etcd's hash of the history up to a revision: for one shard. */
async function hashKv(context: Context, endpoint: string, revision: number): Promise<HashRow> {
  const answer = await askEtcd(context, {
    path: 'maintenance/hashkv',
    body: { revision },
    urls: [endpoint],
  });
  const { hash = 0, hash_revision: at = '0' } = answer;
  return { endpoint, hash: String(hash), revision: Number(at) };
}

async function hashesOfShards(
  client: KvorumClient,
  endpoints: readonly string[],
  shards: readonly string[],
  context: Context,
): Promise<readonly HashRow[]> {
  const rows = endpoints.flatMap((endpoint) =>
    shards.map(async (shard): Promise<readonly HashRow[]> => {
      const found: ShardHash | undefined = await client
        .hash(endpoint, shard, context.call())
        // Not every member has a replica of every shard.
        .catch((error: unknown) => {
          if (messageOf(error).includes('no replica')) return undefined;
          throw error;
        });
      if (found === undefined) return [];
      const { hash, revision, index } = found;
      return [{ endpoint, shard, hash, revision, index }];
    }),
  );
  return (await Promise.all(rows)).flat();
}

/** Rows that are of the same shard at the same place, and yet not the same. */
function differing(rows: readonly HashRow[]): readonly HashRow[] {
  const first = new Map<string, string>();
  return rows.filter(({ shard, revision, index, hash }) => {
    const place = `${shard}@${index ?? revision}`;
    const known = first.get(place);
    if (known === undefined) first.set(place, hash);
    return known !== undefined && known !== hash;
  });
}

export function addEndpointHashKv(endpoint: Command, context: Context): void {
  const command = endpoint
    .command('hashkv')
    .description('Hashes of the stored history: equal on every replica')
    .addHelpText(
      'after',
      '\nWith several shards one line for each replica, with its shard, at what it has applied.' +
        '\nExit code 5 when replicas differ that have come equally far.',
    );
  addClusterFlag(command);
  flag(command, '--rev <revision>', 'history up to this revision (one shard; default: newest)');
  command.action(async (flags: ClusterFlag & { readonly rev?: string }) => {
    const endpoints = await meantBy(flags, context);
    const rows = await context.withClient(async (client) => {
      await client.members(context.call());
      const shards = (await client.shards(context.call())).filter(({ slots }) => slots.length > 0);
      if (shards.length > 1 && flags.rev !== undefined) {
        throw new InputError('--rev is for one shard: each has revisions of its own');
      }
      return shards.length > 1
        ? hashesOfShards(
            client,
            endpoints,
            shards.map(({ shard }) => shard),
            context,
          )
        : Promise.all(endpoints.map((url) => hashKv(context, url, parseCount(flags.rev ?? '0'))));
    });
    const plain = rows.map(({ endpoint: url, shard, hash, revision }) =>
      shard === undefined ? [url, hash, String(revision)] : [url, shard, hash, String(revision)],
    );
    const isOne = rows.every(({ shard }) => shard === undefined);
    printRows(
      context,
      isOne ? ['endpoint', 'hash', 'hash_revision'] : ['ENDPOINT', 'SHARD', 'HASH', 'REVISION'],
      plain,
      rows,
    );
    const bad = differing(rows);
    if (bad.length === 0) return;
    for (const { endpoint: url, shard } of bad) {
      context.io.err(`Error: ${url} differs from another replica of shard ${shard ?? '0'}\n`);
    }
    throw new Exit(EXIT.unhealthyOrInterrupted);
  });
}

export function addMoveLeader(program: Command, context: Context): void {
  const command = program
    .command('move-leader')
    .argument('<member>', 'id (hex) or name')
    .description('Hand the leadership of every shard, or of one, to a member')
    .addHelpText('after', '\nkvctl leader transfer SHARD MEMBER does it for one shard.');
  flag(command, '--shard <shard>', 'only this shard');
  command.action(async (target: string, flags: { readonly shard?: string }) => {
    const moved = await context.withClient(async (client) => {
      const names = await memberNames(client, context);
      const named = [...names].find(([id, name]) => id === target || name === target);
      const id = named?.[0] ?? target;
      const shards = (await client.shards(context.call())).filter(({ shard, slots }) =>
        flags.shard === undefined ? slots.length > 0 : shard === flags.shard,
      );
      if (shards.length === 0) throw new InputError(`no shard ${flags.shard}`, 'kvctl shard list');
      const done: { shard: string; from: string; to: string; holdMs: number }[] = [];
      for (const { shard, leader = '' } of shards) {
        const { holdMs } = await client.transferLeader(shard, target, context.call());
        done.push({ shard, from: leader, to: id, holdMs });
      }
      return done;
    });
    if (context.globals().format === 'json') {
      context.io.out(jsonLine(moved));
      return;
    }
    for (const { shard, from, to } of moved) {
      const which = moved.length === 1 ? '' : `shard ${shard}: `;
      context.io.out(`${which}Leadership transferred from ${from} to ${to}\n`);
    }
  });
}

export function addDowngrade(program: Command, context: Context): void {
  const downgrade = program
    .command('downgrade')
    .description("etcd's downgrades: refused in etcd's words, there is no etcd to go back to");
  for (const name of ['validate', 'enable', 'cancel'] as const) {
    const command = downgrade.command(name).description(`etcd's downgrade ${name}`);
    if (name !== 'cancel') command.argument('<version>');
    command.action(async (given: unknown) => {
      const version = typeof given === 'string' ? given : '';
      const body = { action: name.toUpperCase(), version };
      await askEtcd(context, { path: 'maintenance/downgrade', body });
    });
  }
}
