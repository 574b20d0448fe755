import type { EndpointStatus, KvorumClient, MemberStatus, ReplicaInfo } from '@kvorum/client';
import type { Command } from 'commander';
import { type Call, type Context, flag } from '../context.ts';
import { EXIT, Exit } from '../exit.ts';
import { type Colour, painter } from '../io.ts';
import { jsonLine } from '../output.ts';
import { drawColumns, drawTable } from '../table.ts';
import { jsonOfStatus, reasonOf } from './cluster.ts';
import { askUntil } from './until.ts';

type Paint = ReturnType<typeof painter>;

/** A replica that misses more records of its leader is not fit to do without another one. */
const LAG_MAX = 256;

interface Column {
  readonly title: string;
  readonly state: EndpointStatus['state'];
  readonly replicas: ReadonlyMap<string, ReplicaInfo> | undefined;
}

function shardOrder(a: string, b: string): number {
  return Number(a === 'meta') - Number(b === 'meta') || Number(a) - Number(b);
}

const isUp = (one: EndpointStatus): one is EndpointStatus & { readonly status: MemberStatus } =>
  one.status !== undefined;

/**
 * One cell: `*` for the leader, applied index, how far behind the leader, and whatever is out of
 * the ordinary.
 */
function cellOf(
  replica: ReplicaInfo | undefined,
  leaderIndex: number | undefined,
  paint: Paint,
): string {
  if (replica === undefined) return paint('dim', '-');
  if (replica.halted !== undefined) return paint('red', `HALTED ${replica.appliedIndex}`);
  if (replica.installing !== undefined) return paint('yellow', `installing ${replica.installing}`);
  const lag = leaderIndex === undefined ? 0 : leaderIndex - replica.appliedIndex;
  const late = lag > 0 ? paint('yellow', ` (-${lag})`) : '';
  const role = replica.role === 'follower' || replica.role === 'leader' ? '' : ` ${replica.role}`;
  const noLog = replica.logReachable ? '' : paint('red', ' no log');
  const index = `${replica.appliedIndex}${late}${role}${noLog}`;
  return replica.role === 'leader' ? `${paint('green', '*')}${index}` : ` ${index}`;
}

const colourOf = (state: EndpointStatus['state']): Colour => (state === 'down' ? 'red' : 'yellow');

function matrix(
  members: readonly EndpointStatus[],
  names: ReadonlyMap<string, string>,
  paint: Paint,
): string[][] {
  const columns: Column[] = members.map((one) => ({
    title: one.status?.member.name ?? names.get(one.endpoint) ?? one.endpoint,
    state: one.state,
    replicas:
      one.status === undefined
        ? undefined
        : new Map(one.status.replicas.map((replica) => [replica.shard, replica])),
  }));
  const shards = new Set(columns.flatMap(({ replicas }) => [...(replicas?.keys() ?? [])]));
  const rows = [...shards].sort(shardOrder).map((shard) => {
    const replicas = columns.flatMap((column) => column.replicas?.get(shard) ?? []);
    const leader = replicas.find(({ role }) => role === 'leader');
    const term = Math.max(...replicas.map((replica) => replica.term));
    const revision = Math.max(...replicas.map((replica) => replica.revision));
    const cells = columns.map((column) =>
      column.replicas === undefined
        ? paint(colourOf(column.state), column.state)
        : cellOf(column.replicas.get(shard), leader?.index, paint),
    );
    const first = leader === undefined ? paint('red', `${shard} no leader`) : shard;
    return [first, String(term), String(revision), ...cells];
  });
  return [['SHARD', 'TERM', 'REVISION', ...columns.map(({ title }) => ` ${title}`)], ...rows];
}

function headline(up: readonly MemberStatus[], total: number): string {
  const [first] = up;
  if (first === undefined) return 'no member answers\n';
  const all = up.flatMap(({ replicas }) => replicas.map(({ shard }) => shard));
  const shards = new Set(all.filter((shard) => shard !== 'meta')).size;
  const members = `${up.length} of ${total} members up`;
  return `cluster ${first.clusterId}, ${members}, ${shards} shards, map ${first.mapVersion}\n`;
}

/** Members × shards on one screen. `names`: of endpoints that do not tell theirs, as the others know them. */
export function printStatus(
  members: readonly EndpointStatus[],
  names: ReadonlyMap<string, string>,
  table: boolean,
  paint: Paint,
): string {
  const up = members.filter(isUp).map(({ status }) => status);
  const [head = [], ...rows] = matrix(members, names, paint);
  const down = members.flatMap((one) =>
    one.error === undefined
      ? []
      : `${paint(colourOf(one.state), one.state)}  ${one.endpoint}: ${reasonOf(one.endpoint, one.error)}\n`,
  );
  const body = table ? drawTable(head, rows) : drawColumns([head, ...rows]);
  const legend = table
    ? ''
    : paint('dim', '* leader, number = applied index, (-n) = behind the leader\n');
  return `${headline(up, members.length)}\n${body}${legend}${down.join('')}`;
}

/** Every shard has a leader that answers, no replica is halted, every member is up. */
function isHealthy(members: readonly EndpointStatus[]): boolean {
  const replicas = members.flatMap(({ status }) => status?.replicas ?? []);
  const led = new Set(replicas.filter(({ role }) => role === 'leader').map(({ shard }) => shard));
  return (
    members.every(isUp) &&
    replicas.every((replica) => replica.halted === undefined && led.has(replica.shard))
  );
}

/** Endpoint → name, from whoever is up; only asked when somebody is not. */
async function namesOf(
  client: KvorumClient,
  call: Call,
  members: readonly EndpointStatus[],
): Promise<ReadonlyMap<string, string>> {
  if (members.every(isUp) || !members.some(isUp)) return new Map();
  const known = await client.members(call).catch(() => []);
  return new Map(
    known.flatMap(({ name, clientUrls }) => clientUrls.map((url) => [url, name] as const)),
  );
}

export function addStatus(program: Command, context: Context): void {
  const command = program
    .command('status')
    .description('The whole cluster on one screen; exits with 5 when a member or a shard is down');
  flag(command, '--wait', 'return when every member is up and no replica is far behind');
  command.action(async (flags: { readonly wait?: boolean }) => {
    const { members, names } =
      flags.wait === true
        ? await askUntil(context, () => askAll(context), troubleOf)
        : await askAll(context);
    const [first] = members;
    if (first?.error !== undefined && members.every(({ state }) => state === 'down')) {
      throw first.error;
    }
    const { format } = context.globals();
    if (format === 'json') {
      context.io.out(jsonLine({ healthy: isHealthy(members), members: members.map(jsonOfStatus) }));
    } else {
      context.io.out(printStatus(members, names, format === 'table', painter(context.io)));
    }
    if (!isHealthy(members)) throw new Exit(EXIT.unhealthyOrInterrupted);
  });
}

interface Everybody {
  readonly members: readonly EndpointStatus[];
  readonly names: ReadonlyMap<string, string>;
}

function askAll(context: Context): Promise<Everybody> {
  return context.withMembers(async (client, call) => {
    const members = await client.status(call);
    return { members, names: await namesOf(client, call, members) };
  });
}

/** What keeps a rolling restart from its next member; undefined: nothing. */
function troubleOf({ members, names }: Everybody): string | undefined {
  const away = members.find((one) => !isUp(one));
  if (away !== undefined) {
    return `${names.get(away.endpoint) ?? away.endpoint} is ${away.state}`;
  }
  const all = members.flatMap(({ status }) => status?.replicas ?? []);
  for (const { shard, halted, installing, index } of all) {
    if (halted !== undefined) return `shard ${shard} is halted: ${halted}`;
    if (installing !== undefined) return `shard ${shard} installs ${installing}`;
    const leader = all.find((one) => one.shard === shard && one.role === 'leader');
    if (leader === undefined) return `shard ${shard} has no leader`;
    if (leader.index - index > LAG_MAX) return `a replica of shard ${shard} is behind`;
  }
  return undefined;
}
