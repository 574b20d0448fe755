import type { KvorumClient } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { EXIT, Exit, InputError } from '../exit.ts';
import { bytesField, jsonLine, leaseHex, shown } from '../output.ts';
import { parseLease } from '../txn-grammar.ts';
import { printRows } from './rows.ts';

const HELP = `
Ids of leases are hexadecimal, as etcdctl has them.

Examples:
  kvctl lease grant 60
  kvctl put job running --lease 32695410dcc0ca06
  kvctl lease keep-alive 32695410dcc0ca06`;

export function addLease(program: Command, context: Context): void {
  const lease = program
    .command('lease')
    .description('Leases: keys that hang on one go when it ends')
    .addHelpText('after', HELP);
  addGrant(lease, context);
  addRevoke(lease, context);
  addTimeToLive(lease, context);
  addList(lease, context);
  addKeepAlive(lease, context);
}

/** What one lease is in the form asked for; `simple` as etcdctl. */
function print(
  context: Context,
  simple: string,
  fields: Readonly<Record<string, string | number>>,
): void {
  const { id: ID = '', ...others } = fields;
  const json = { id: ID, ...others };
  if (context.globals().format === 'simple') context.io.out(`${simple}\n`);
  else printRows(context, Object.keys(json), [Object.values(json).map(String)], json);
}

function addGrant(lease: Command, context: Context): void {
  lease
    .command('grant')
    .argument('<ttl>', 'seconds that it lives for without being renewed')
    .argument('[id]', 'hex; absent: chosen by the cluster')
    .description('Grant a lease')
    .action(async (ttl: string, id: string | undefined) => {
      const ttlSeconds = parseCount(ttl);
      if (ttlSeconds < 1)
        throw new InputError('the ttl must be at least 1', 'kvctl lease grant 60');
      const granted = await context.withClient(async (client) => {
        const chosen = id === undefined ? undefined : parseLease(id);
        const options = { ttlSeconds, id: chosen, keepAlive: false };
        return client.leases.grant({ ...context.call(), ...options });
      });
      const text = leaseHex(granted.id);
      print(context, `lease ${text} granted with TTL(${granted.ttlSeconds}s)`, {
        id: text,
        ttl: granted.ttlSeconds,
      });
    });
}

function addRevoke(lease: Command, context: Context): void {
  lease
    .command('revoke')
    .argument('<id>', 'hex')
    .description('End a lease and delete its keys, in every shard')
    .action(async (given: string) => {
      const id = parseLease(given);
      await context.withClient((client) => client.leases.revoke(id, context.call()));
      print(context, `lease ${leaseHex(id)} revoked`, { id: leaseHex(id), revoked: 1 });
    });
}

function addTimeToLive(lease: Command, context: Context): void {
  const command = lease
    .command('timetolive')
    .argument('<id>', 'hex')
    .description('How long a lease lives on');
  flag(command, '--keys', 'and which keys hang on it');
  command.action(async (given: string, flags: { readonly keys?: boolean }) => {
    const id = parseLease(given);
    const wantsKeys = flags.keys === true;
    const found = await context.withClient((client) =>
      client.leases.timeToLive(id, { ...context.call(), keys: wantsKeys }),
    );
    const text = leaseHex(id);
    if (found === undefined) {
      print(context, `lease ${text} already expired`, { id: text, remaining: -1, granted: 0 });
      return;
    }
    const { remainingSeconds: remaining, ttlSeconds: granted, keys } = found;
    if (context.globals().format === 'json') {
      const named = wantsKeys ? { keys: keys.map((key) => bytesField('key', key)) } : {};
      context.io.out(jsonLine({ id: text, granted, remaining, ...named }));
      return;
    }
    const attached = keys.map((key) => shown(key)).join(' ');
    const times = `granted with TTL(${granted}s), remaining(${remaining}s)`;
    print(context, `lease ${text} ${times}${wantsKeys ? `, attached keys([${attached}])` : ''}`, {
      id: text,
      granted,
      remaining,
      ...(wantsKeys ? { keys: attached } : {}),
    });
  });
}

function addList(lease: Command, context: Context): void {
  lease
    .command('list')
    .description('List the leases, the next to end first')
    .action(async () => {
      const ids = await context.withClient((client) => client.leases.list(context.call()));
      const texts = ids.map(leaseHex);
      if (context.globals().format === 'simple') {
        context.io.out([`found ${ids.length} leases`, ...texts, ''].join('\n'));
      } else {
        printRows(
          context,
          ['ID'],
          texts.map((text) => [text]),
          texts,
        );
      }
    });
}

function addKeepAlive(lease: Command, context: Context): void {
  const command = lease
    .command('keep-alive')
    .argument('<id>', 'hex')
    .description('Renew a lease until interrupted, or until it is gone');
  flag(command, '--once', 'once');
  command.action(async (given: string, flags: { readonly once?: boolean }) => {
    const id = parseLease(given);
    await context.withClient((client) => keepAlive(client, id, flags.once === true, context));
  });
}

async function keepAlive(
  client: KvorumClient,
  id: bigint,
  once: boolean,
  context: Context,
): Promise<void> {
  const text = leaseHex(id);
  const tell = (ttl: number): void =>
    print(context, `lease ${text} keepalived with TTL(${ttl})`, { id: text, ttl });
  if (once) {
    tell(await client.leases.keepAliveOnce(id, context.call()));
    return;
  }
  const held = await client.leases.open(id, { ...context.call(), keepAlive: false });
  const { signal } = context.io;
  tell(held.ttlSeconds);
  while (!signal.aborted && held.isAlive) {
    await Promise.race([pause((held.ttlSeconds * 1000) / 3, signal), held.lost]);
    if (signal.aborted) break;
    await held
      .keepAlive({ signal, timeoutMs: Math.max(1, held.remainingMs) })
      .catch(() => undefined);
    if (held.isAlive) tell(held.ttlSeconds);
  }
  signal.throwIfAborted();
  if (context.globals().format === 'simple') context.io.out(`lease ${text} expired or revoked.\n`);
  throw new Exit(EXIT.server);
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
