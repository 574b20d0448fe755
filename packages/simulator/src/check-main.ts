import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { type CheckReport, checkHistory } from './checkers/check-history.ts';
import { readHistory } from './checkers/history-file.ts';
import type { RecordedHistory } from './checkers/recorded-history.ts';
import { renderTimeline } from './checkers/timeline.ts';

const HELP = `npm run check -- FILE [options]   judge a recorded history (docs/testing.md)

  --html OUT         also write a timeline to look at, failing or not
  --json             the report as JSON on stdout
  --timeout SECONDS  for the search over orders (default 60); beyond it the history is not verified

exit code: 0 nothing wrong, 1 a violation or not verified, 2 the file or the arguments are bad`;

/** The command `npm run check`; returns the exit code. */
export async function checkFile(args: readonly string[]): Promise<number> {
  const parsed = parseArguments(args);
  if (typeof parsed === 'number') return parsed;
  const { file, html, json, timeoutMs } = parsed;
  const history = await load(file);
  if (history === undefined) return 2;
  const report = checkHistory(history, { timeoutMs });
  if (html !== undefined && !writeHtml(html, history, report)) return 2;
  if (json) console.log(JSON.stringify(report, undefined, 2));
  else print(file, report, html);
  return report.verdict === 'ok' ? 0 : 1;
}

interface Arguments {
  readonly file: string;
  readonly html: string | undefined;
  readonly json: boolean;
  readonly timeoutMs: number;
}

function parseArguments(args: readonly string[]): Arguments | number {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
  const { positionals, values } = parsed;
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [file, ...more] = positionals;
  if (file === undefined || more.length > 0) return refuse('give one history file');
  const timeoutMs = Number(values.timeout) * 1000;
  if (!(timeoutMs > 0)) return refuse(`--timeout must be a number of seconds: ${values.timeout}`);
  return { file, html: values.html, json: values.json, timeoutMs };
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      html: { type: 'string' },
      json: { type: 'boolean', default: false },
      timeout: { type: 'string', default: '60' },
      help: { type: 'boolean', default: false },
    },
  });
}

function refuse(why: string): number {
  console.error(`check: ${why}\n\n${HELP}`);
  return 2;
}

async function load(file: string): Promise<RecordedHistory | undefined> {
  try {
    const history = await readHistory(file);
    if (history.ok) return history.value;
    console.error(`check: ${file} is not a history: ${history.error.message}`);
  } catch (error) {
    console.error(`check: cannot read ${file}: ${messageOf(error)}`);
  }
  return undefined;
}

function writeHtml(path: string, history: RecordedHistory, report: CheckReport): boolean {
  try {
    writeFileSync(path, renderTimeline(history, report));
    return true;
  } catch (error) {
    console.error(`check: cannot write ${path}: ${messageOf(error)}`);
    return false;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const LISTED_MAX = 20;

function print(file: string, report: CheckReport, html: string | undefined): void {
  const { counts, findings, moreFindings, unverified, verdict } = report;
  const { events, failed, keyGroups, logRecords, ok, operations, shards, streams } = counts;
  const outcomes = `${ok} ok, ${failed} failed, ${counts.unknown} unknown`;
  console.log(`${file}: ${operations} operations (${outcomes}) on ${shards} shards`);
  const searched = `${keyGroups} groups of keys searched in ${counts.searchSteps} steps`;
  console.log(`  ${searched}; ${streams} streams with ${events} events; ${logRecords} log records`);
  for (const { checker, rule, shard, text } of findings.slice(0, LISTED_MAX)) {
    console.log(`  ${checker}, ${rule}, shard ${shard}: ${text}`);
  }
  const rest = Math.max(0, findings.length - LISTED_MAX) + moreFindings;
  if (rest > 0) console.log(`  and ${rest} more findings`);
  for (const what of unverified) console.log(`  NOT VERIFIED: ${what}`);
  if (html !== undefined) console.log(`  timeline: ${html}`);
  const said = {
    ok: 'ok: nothing wrong',
    violation: `VIOLATION: ${findings.length + moreFindings} findings`,
    unverified: 'NOT VERIFIED: nothing wrong was found, but not everything could be judged',
  };
  console.log(said[verdict]);
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = await checkFile(process.argv.slice(2));
}
