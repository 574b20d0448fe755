import { compareBytes, isKvError, utf8 } from '@kvorum/base';
import { type EndpointStatus, type KvorumClient, stateOf } from '@kvorum/client';
import type { Command } from 'commander';
import { type Call, type Context, flag, parseCount } from '../context.ts';
import { EXIT, Exit } from '../exit.ts';
import { jsonLine } from '../output.ts';
import { bytesText, printRows } from './rows.ts';
import { progressOf, type ShardProgress } from './shard-status.ts';
import { addSlotFlags, listSlots, type SlotFlags } from './slots.ts';

export function addCompaction(program: Command, context: Context): void {
  const command = program
    .command('compaction')
    .argument('<revision>')
    .description('Forget the history below a revision')
    .addHelpText(
      'after',
      '\nEach shard has its own revisions; without --shard every shard that got so far is compacted.',
    );
  flag(command, '--shard <shard>', 'only this shard');
  flag(command, '--physical', 'wait until the space is free');
  command.action(async (text: string, flags: { shard?: string; physical?: boolean }) => {
    const revision = parseCount(text);
    const done = await context.withClient((client) =>
      compactShards(client, context, revision, flags),
    );
    const rows = done.map((one) => [one.shard, one.error ?? `compacted revision ${revision}`]);
    if (flags.shard === undefined && done.length > 1) {
      printRows(context, ['SHARD', 'RESULT'], rows, { revision, shards: done });
    } else if (context.globals().format === 'json') {
      context.io.out(jsonLine({ revision, shards: done }));
    } else {
      context.io.out(`compacted revision ${revision}\n`);
    }
  });
}

interface ShardOutcome {
  readonly shard: string;
  readonly error?: string;
}

/**
 * A shard that has not got to the revision, or is past it, is no failure of the others; if all are,
 * it is one.
 */
async function compactShards(
  client: KvorumClient,
  context: Context,
  revision: number,
  flags: { readonly shard?: string; readonly physical?: boolean },
): Promise<readonly ShardOutcome[]> {
  const { physical } = flags;
  const shards =
    flags.shard === undefined
      ? await client.shardsOf({ all: true }, context.call())
      : [flags.shard];
  let firstError: unknown;
  const outcomes = await Promise.all(
    shards.map(async (shard): Promise<ShardOutcome> => {
      try {
        await client.compact(revision, { ...context.call(), shard, physical });
        return { shard };
      } catch (error) {
        const skipped =
          isKvError(error) &&
          (error.code === 'KV_FUTURE_REVISION' || error.code === 'KV_COMPACTED');
        if (!skipped) throw error;
        firstError ??= error;
        return {
          shard,
          error: `${messageOf(error)} (${error.code})`,
        };
      }
    }),
  );
  if (outcomes.every((outcome) => outcome.error !== undefined)) throw firstError;
  return outcomes;
}

interface Health {
  readonly endpoint: string;
  readonly healthy: boolean;
  /** `unhealthy`: it says so itself, or does not answer. */
  readonly state: 'healthy' | 'unhealthy' | 'starting' | 'stopping';
  readonly reasons: readonly string[];
  readonly tookMs: number;
}

async function healthOf(client: KvorumClient, endpoint: string, call: Call): Promise<Health> {
  const started = performance.now();
  const found = await client.health(endpoint, call).then(
    ({ healthy, reasons }) =>
      ({ healthy, reasons, state: healthy ? 'healthy' : 'unhealthy' }) as const,
    (error: unknown) => {
      const state = stateOf(error);
      const reasons = [reasonOf(endpoint, error)];
      return { healthy: false, reasons, state: state === 'down' ? 'unhealthy' : state } as const;
    },
  );
  return { endpoint, ...found, tookMs: Math.round((performance.now() - started) * 100) / 100 };
}

function addEndpointHealth(endpoint: Command, context: Context): void {
  const command = endpoint.command('health').description('Ask members whether they can serve');
  flag(command, '--cluster', 'every member of the cluster, not only --endpoints');
  command.action(async (flags: { readonly cluster?: boolean }) => {
    const results = await context.withMembers(async (client, call) => {
      // Whoever serves names the members that were not given.
      if (flags.cluster === true) await client.members(call).catch(() => undefined);
      const endpoints = flags.cluster === true ? client.endpoints : context.globals().endpoints;
      return Promise.all(endpoints.map((url) => healthOf(client, url, call)));
    });
    const { format } = context.globals();
    if (format === 'simple') {
      for (const { endpoint: url, healthy, state, reasons, tookMs } of results) {
        if (healthy) context.io.out(`${url} is healthy: took ${tookMs} ms\n`);
        else context.io.err(`${url} is ${state}: ${reasons.join('; ')}\n`);
      }
    } else {
      const rows = results.map((one) => [
        one.endpoint,
        one.healthy ? 'true' : one.state,
        `${one.tookMs} ms`,
        one.reasons.join('; '),
      ]);
      printRows(context, ['ENDPOINT', 'HEALTHY', 'TOOK', 'WHY NOT'], rows, results);
    }
    if (results.some(({ healthy }) => !healthy)) throw new Exit(EXIT.unhealthyOrInterrupted);
  });
}

export function messageOf(error: unknown): string {
  if (isKvError(error)) return error.message.replace(/^(etcdserver|kv): (mvcc: )?/, '');
  throw error;
}

function addEndpointStatus(endpoint: Command, context: Context): void {
  const command = endpoint.command('status').description('What members say of themselves');
  flag(command, '--cluster', 'every member of the cluster, not only --endpoints');
  command.action(async (flags: { readonly cluster?: boolean }) => {
    const all = await context.withMembers((client, call) => client.status(call));
    const asked = context.globals().endpoints.map((url) => url.replace(/\/$/, ''));
    const isAsked = (one: EndpointStatus): boolean =>
      flags.cluster === true || asked.some((url) => one.endpoint.endsWith(url));
    const shown = all.filter(isAsked);
    const head = ['ENDPOINT', 'ID', 'NAME', 'VERSION', 'STORE', 'RSS', 'LEADS', 'ERRORS'];
    printRows(context, head, shown.map(statusRow), shown.map(jsonOfStatus));
    if (shown.some((one) => one.error !== undefined)) throw new Exit(EXIT.unhealthyOrInterrupted);
  });
}

export function jsonOfStatus(one: EndpointStatus): unknown {
  const { endpoint, status, error } = one;
  return status === undefined
    ? { endpoint, state: one.state, error: error.message, code: error.code }
    : { endpoint, state: one.state, ...status };
}

/** Why there is no answer, without the address, which stands beside it. */
export function reasonOf(endpoint: string, error: unknown): string {
  const text = messageOf(error).replace(/^no member answers: /, '');
  return text.startsWith(`${endpoint}: `) ? text.slice(endpoint.length + 2) : text;
}

function statusRow(one: EndpointStatus): readonly string[] {
  const { endpoint, status } = one;
  if (status === undefined) {
    return [endpoint, '', '', '', '', '', '', `${one.state}: ${reasonOf(endpoint, one.error)}`];
  }
  const { replicas, member } = status;
  const leads = replicas.filter(({ role }) => role === 'leader').length;
  const halted = replicas.flatMap(({ shard, halted: why }) =>
    why === undefined ? [] : `shard ${shard} halted: ${why}`,
  );
  const bytes = replicas.reduce((sum, { storeBytes }) => sum + storeBytes, 0);
  return [
    endpoint,
    member.id,
    member.name,
    status.version,
    bytesText(bytes),
    bytesText(status.residentBytes),
    `${leads} of ${replicas.length}`,
    halted.join('; '),
  ];
}

/** Returns the command `endpoint`, for those that stand elsewhere. */
export function addEndpoint(program: Command, context: Context): Command {
  const endpoint = program.command('endpoint').description('Members by their address');
  addEndpointHealth(endpoint, context);
  addEndpointStatus(endpoint, context);
  return endpoint;
}

/** In the order of their names: m2 before m10. */
function votersText({ voting, voters }: ShardProgress, names: ReadonlyMap<string, string>): string {
  const { compare } = new Intl.Collator('en', { numeric: true });
  return (voting ?? voters)
    .map((id) => names.get(id) ?? id)
    .sort(compare)
    .join(' ');
}

/** Returns the command `shard`, for those that stand elsewhere. */
export function addShard(program: Command, context: Context): Command {
  const shard = program.command('shard').description('Shards and where keys live');
  const list = shard.command('list').description('List the shards with their slots and leaders');
  addSlotFlags(list);
  list.action(async (flags: SlotFlags) => {
    if (flags.slots === true) {
      await listSlots(context, flags);
      return;
    }
    const { shards, names } = await context.withClient(async (client) => ({
      shards: (await progressOf(client, context.call)).shards,
      names: await memberNames(client, context),
    }));
    const rows = shards.map((one) => [
      one.shard,
      one.slots.map(([from, to]) => `${from}-${to}`).join(' '),
      one.leader === undefined ? 'none' : (names.get(one.leader) ?? one.leader),
      String(one.term),
      String(one.revision),
      votersText(one, names),
    ]);
    printRows(context, ['SHARD', 'SLOTS', 'LEADER', 'TERM', 'REVISION', 'VOTERS'], rows, shards);
  });
  const where = shard
    .command('where')
    .argument('<key>')
    .description('Which shard holds a key (or, with --prefix, a range), and who leads it');
  flag(where, '--prefix', 'every key that starts with KEY');
  where.action(async (key: string, flags: { readonly prefix?: boolean }) => {
    const found = await context.withClient(async (client) => {
      const prefixed = flags.prefix === true;
      const ids = prefixed
        ? await client.shardsOf({ prefix: key }, context.call())
        : [await client.shardOf(key, context.call())];
      const [shards, names] = [
        await client.shards(context.call()),
        await memberNames(client, context),
      ];
      return ids.map((id) => {
        const leader = shards.find((one) => one.shard === id)?.leader;
        return {
          key,
          shard: id,
          ...(leader === undefined ? {} : { leader: names.get(leader) ?? leader }),
        };
      });
    });
    const rows = found.map((one) => [one.key, one.shard, one.leader ?? 'none']);
    printRows(context, ['KEY', 'SHARD', 'LEADER'], rows, found);
  });
  return shard;
}

/** Member id → name. */
export async function memberNames(
  client: KvorumClient,
  context: Context,
): Promise<ReadonlyMap<string, string>> {
  const members = await client.members(context.call());
  const sorted = [...members].sort((a, b) => compareBytes(utf8(a.name), utf8(b.name)));
  return new Map(sorted.map(({ id, name }) => [id, name]));
}

/** `10 minutes`, `90 seconds`. */
function durationText(ms: number): string {
  const minutes = ms / 60_000;
  const [count, unit] = Number.isInteger(minutes) ? [minutes, 'minute'] : [ms / 1000, 'second'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

export function addLeader(program: Command, context: Context): void {
  const leader = program.command('leader').description('Leadership of shards');
  leader
    .command('transfer')
    .argument('<shard>')
    .argument('<member>', 'name or id')
    .description("Hand a shard's leadership to a member, which keeps it for a while")
    .action(async (shard: string, member: string) => {
      const { holdMs } = await context.withClient((client) =>
        client.transferLeader(shard, member, context.call()),
      );
      if (context.globals().format === 'json') {
        context.io.out(jsonLine({ shard, leader: member, holdMs }));
        return;
      }
      const kept =
        holdMs === 0
          ? 'Leaders are spread evenly, so it may go back within seconds.'
          : `It stays there for ${durationText(holdMs)}, or until ${member} restarts; ` +
            'then leaders are spread evenly again.';
      context.io.out(`Leadership of shard ${shard} transferred to ${member}\n${kept}\n`);
    });
}
