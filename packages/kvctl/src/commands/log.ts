import { utf8 } from '@kvorum/base';
import type { KvorumClient, LogChange, LogPage, LogParams, LogRecordInfo } from '@kvorum/client';
import { type Command, Option } from 'commander';
import { type Context, durationOf, flag, parseCount } from '../context.ts';
import { InputError } from '../exit.ts';
import { bytesField, jsonLine, shown } from '../output.ts';
import { drawColumns } from '../table.ts';
import { memberNames } from './cluster.ts';

const LAST_DEFAULT = 10;
const WAIT_MS = 900;

interface LogFlags {
  readonly from?: string;
  readonly since?: string;
  readonly to?: string;
  readonly last?: string;
  readonly count?: string;
  readonly values?: boolean;
}

const TIME_HELP = 'TIME is so long ago (10m, 2h30m) or a moment (2026-11-21T09:00:00Z).';

/**
 * `kvctl log tail` and `kvctl log dump`: the records of a shard's log, decoded by a member. Returns the command `log`, for those that stand
 * elsewhere.
 */
export function addLog(program: Command, context: Context): Command {
  const log = program.command('log').description("Read a shard's log");
  const tail = log
    .command('tail')
    .argument('<shard>')
    .description('Print the last records and follow')
    .addHelpText(
      'after',
      `\nGoes on until interrupted or until --count records came.\n${TIME_HELP}`,
    );
  flag(tail, '--from <offset>', 'begin at this offset');
  flag(tail, '--since <time>', 'begin with records of that time');
  flag(tail, '--last <n>', 'begin with the last n records', (option) =>
    option.default(String(LAST_DEFAULT)),
  );
  flag(tail, '--count <n>', 'end after this many records');
  flag(tail, '--values', 'print the values too');
  tail.action((shard: string, flags: LogFlags) => {
    const limit = flags.count === undefined ? Number.POSITIVE_INFINITY : parseCount(flags.count);
    return run(context, { ...paramsOf(shard, flags), waitMs: WAIT_MS }, { follow: true, limit });
  });
  const dump = log
    .command('dump')
    .argument('<shard>')
    .description('Print all records that are there now')
    .addHelpText('after', `\n${TIME_HELP}`);
  flag(dump, '--from <offset>', 'begin at this offset');
  flag(dump, '--to <offset>', 'end before this offset');
  flag(dump, '--since <time>', 'begin with records of that time');
  flag(dump, '--values', 'print the values too');
  dump.action((shard: string, flags: LogFlags) => {
    const to = flags.to === undefined ? Number.POSITIVE_INFINITY : parseCount(flags.to);
    const begin = flags.since === undefined ? { from: 0, ...paramsOf(shard, flags) } : undefined;
    const options = { follow: false, to, limit: Number.POSITIVE_INFINITY };
    return run(context, begin ?? paramsOf(shard, flags), options);
  });
  return log;
}

function paramsOf(shard: string, flags: LogFlags): LogParams {
  if (flags.from !== undefined && flags.since !== undefined) {
    throw new InputError('--from and --since exclude each other');
  }
  return {
    shard,
    ...(flags.from === undefined ? {} : { from: parseCount(flags.from) }),
    ...(flags.since === undefined ? {} : { sinceMs: parseTime(flags.since) }),
    ...(flags.last === undefined ? {} : { last: parseCount(flags.last) }),
    ...(flags.values === true ? { values: true } : {}),
  };
}

/** So long ago, or a moment. */
function parseTime(text: string): number {
  const agoMs = durationOf(text);
  if (agoMs !== undefined) return Math.max(0, Math.round(Date.now() - agoMs));
  const moment = Date.parse(text);
  if (Number.isNaN(moment)) {
    throw new InputError(`"${text}" is no time`, 'write 10m, 2h30m (ago) or 2026-11-21T09:00:00Z');
  }
  return moment;
}

interface Extent {
  readonly follow: boolean;
  readonly limit: number;
  readonly to?: number;
}

async function run(context: Context, params: LogParams, extent: Extent): Promise<void> {
  const { to = Number.POSITIVE_INFINITY } = extent;
  await context.withClient(async (client) => {
    let left = extent.limit;
    const print = await printer(context, client);
    for await (const page of pages(context, client, params, extent.follow)) {
      for (const record of page.records) {
        if (left <= 0 || record.offset >= to) return;
        context.io.out(print(page, record));
        left -= 1;
      }
      if (left <= 0) return;
    }
  });
}

/** Makes JSON of a record, or text with the names of members. */
async function printer(
  context: Context,
  client: KvorumClient,
): Promise<(page: LogPage, record: LogRecordInfo) => string> {
  if (context.globals().format === 'json') return (page, record) => jsonLine(jsonOf(page, record));
  const names = await memberNames(client, context);
  return (_page, record) => recordText(record, names);
}

/** Page after page: up to the end that was there first, or on and on. */
async function* pages(
  context: Context,
  client: KvorumClient,
  params: LogParams,
  follow: boolean,
): AsyncGenerator<LogPage, void, undefined> {
  let question = params;
  let end: number | undefined;
  for (;;) {
    const page = await client.logPage(question, {
      signal: context.io.signal,
      timeoutMs: context.globals().timeoutMs + WAIT_MS,
    });
    end ??= page.end;
    yield page;
    if (!follow && (page.next.offset >= end || page.next.offset === question.cursor?.offset))
      return;
    question = { ...params, cursor: page.next };
  }
}

const timeText = (timeMs: number): string => new Date(timeMs).toISOString();

/** One line for the record and one for each change. Members that are gone have no name any more, only their id. */
function recordText(record: LogRecordInfo, names: ReadonlyMap<string, string>): string {
  const named = (ids: readonly string[]): string => ids.map((id) => names.get(id) ?? id).join(',');
  if (record.unreadable !== undefined && record.kind === '') {
    return `${record.offset} unreadable: ${record.unreadable}\n`;
  }
  const { reason, baseRevision = 0, revisions = 0, compactRevision, compactedBy } = record;
  const words = [
    record.offset,
    timeText(record.timeMs),
    record.kind,
    `term ${record.term} leader ${named([record.leader])} seq ${record.seq}`,
    `${record.verdict}${reason === undefined ? '' : ` (${reason})`}`,
    ...(revisions === 0 ? [] : [`revisions ${baseRevision + 1}-${baseRevision + revisions}`]),
    ...(compactRevision === undefined ? [] : [`compacted ${compactRevision}`]),
    ...(compactedBy === undefined ? [] : [`by ${compactedBy}`]),
    ...(record.voters === undefined ? [] : [`voters ${named(record.voters)}`]),
    ...(record.learners === undefined || record.learners.length === 0
      ? []
      : [`learners ${named(record.learners)}`]),
    ...(record.unreadable === undefined ? [] : [`unreadable: ${record.unreadable}`]),
  ];
  return `${words.join(' ')}\n${(record.changes ?? []).map(printChange).join('')}`;
}

function printChange(change: LogChange): string {
  const { type, revision, value } = change;
  const by = whoOf(change);
  const size = type === 'put' ? ` ${change.valueBytes} bytes` : '';
  const shownValue = value === undefined ? '' : ` = ${shown(value)}`;
  return `    ${revision} ${type} ${shown(change.key)}${size}${shownValue}${by === '' ? '' : ` by ${by}`}\n`;
}

const whoOf = ({ user, client }: LogChange): string =>
  [user, client].filter((name) => name !== '').join(' ');

function jsonOf(page: LogPage, record: LogRecordInfo): unknown {
  const { changes, ...rest } = record;
  return {
    shard: page.shard,
    ...rest,
    time: timeText(record.timeMs),
    ...(changes === undefined ? {} : { changes: changes.map(jsonOfChange) }),
  };
}

function jsonOfChange({ key, value, ...rest }: LogChange): unknown {
  return {
    ...rest,
    ...bytesField('key', key),
    ...(value === undefined ? {} : bytesField('value', value)),
  };
}

interface AuditFlags extends LogFlags {
  readonly auditKey?: string;
}

/** What `--key` behind `audit` is read as: of kvctl itself it names the key file of TLS. */
const AUDIT_KEY_FLAG = '--audit-key';

/** The command line with the `--key` of an audit told apart from kvctl's own. */
export function withAuditKey(
  args: readonly string[],
  commands: readonly string[],
): readonly string[] {
  const at = args.findIndex((word) => commands.includes(word));
  if (args[at] !== 'audit') return args;
  return args.map((word, i) => (i > at ? word.replace(/^--key(?==|$)/, AUDIT_KEY_FLAG) : word));
}

/** `kvctl audit --key K`: who changed a key, when, at which revision. */
export function addAudit(program: Command, context: Context): void {
  const command = program
    .command('audit')
    .argument('[key]')
    .description('Show who changed a key, when, at which revision')
    .addHelpText(
      'after',
      `\nThe key may be written as --key KEY too. Reads the log as far back as it reaches, and says
where it begins.\n${TIME_HELP}`,
    );
  command.addOption(new Option(`${AUDIT_KEY_FLAG} <key>`).hideHelp());
  flag(command, '--since <time>', 'only changes since then');
  flag(command, '--values', 'print the values too');
  command.action(async (operand: string | undefined, flags: AuditFlags) => {
    const key = operand ?? flags.auditKey;
    if (key === undefined) throw new InputError('audit needs a key', 'kvctl audit KEY');
    await context.withClient(async (client) => {
      const shard = await client.shardOf(key, context.call());
      const since = flags.since === undefined ? { from: 0 } : { sinceMs: parseTime(flags.since) };
      const values = flags.values === true ? { values: true } : {};
      await audit(context, client, { shard, key: utf8(key), ...since, ...values });
    });
  });
}

async function audit(context: Context, client: KvorumClient, params: LogParams): Promise<void> {
  const { io, globals } = context;
  const json = globals().format === 'json';
  const rows: string[][] = [];
  let start = 0;
  for await (const page of pages(context, client, params, false)) {
    start = Math.max(start, page.start);
    for (const { record, change } of appliedChanges(page)) {
      if (json) io.out(jsonLine(auditJson(page, record, change)));
      else rows.push(auditRow(record, change));
    }
  }
  if (rows.length > 0) io.out(drawColumns([AUDIT_HEAD, ...rows]));
  else if (!json) io.err('no change of this key in the log\n');
  if (start > 0) {
    io.err(`the log of shard ${params.shard} begins at offset ${start}: older changes are gone\n`);
  }
}

interface AppliedChange {
  readonly record: LogRecordInfo;
  readonly change: LogChange;
}

/** What no replica applied changed nothing. */
function appliedChanges(page: LogPage): readonly AppliedChange[] {
  return page.records
    .filter(({ verdict }) => verdict !== 'ignored')
    .flatMap((record) => (record.changes ?? []).map((change) => ({ record, change })));
}

const AUDIT_HEAD = ['TIME', 'REVISION', 'CHANGE', 'VERSION', 'BY', 'OFFSET'];

function auditRow(record: LogRecordInfo, change: LogChange): string[] {
  const by = whoOf(change);
  const uncertain = record.verdict === 'accepted' ? '' : ` (${record.verdict})`;
  return [
    timeText(record.timeMs),
    String(change.revision),
    `${change.type}${uncertain}${change.value === undefined ? '' : ` ${shown(change.value)}`}`,
    String(change.version),
    by === '' ? '-' : by,
    String(record.offset),
  ];
}

function auditJson(page: LogPage, record: LogRecordInfo, change: LogChange): unknown {
  const { timeMs, offset, term, leader, verdict } = record;
  const place = { shard: page.shard, offset, time: timeText(timeMs), term, leader, verdict };
  return { ...place, ...(jsonOfChange(change) as object) };
}
