import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from './bench.ts';
import { metricOf } from './member-metrics.ts';
import { type OneMember, putMany, startOneMember, submit } from './one-member.ts';
import { progress, sleep, waitUntil } from './processes.ts';
import { type RowId, type RowResult, rowOf, sampleOf } from './rows.ts';

const REMOVED_ROWS = 'etcd_debugging_mvcc_db_compaction_keys_total';
/** LevelDB's own merging after a burst of puts has come to rest by then, mostly. */
const REST_MS = 1000;
const POLL_MS = 200;
const COMPACT_TIMEOUT_MS = 120_000;
/** Nothing is compacted but what is measured. */
const SETTINGS = { 'autoCompaction.mode': 'off' };

/** How much history over how many keys a compaction removes. */
interface Case {
  readonly keys: number;
  readonly removed: number;
}

/** A member whose keys are there, each in one version. */
async function startWith(bench: Bench, keys: number): Promise<OneMember> {
  const directory = mkdtempSync(join(bench.workspace.dir, 'compaction-'));
  bench.workspace.onClose(async () => rmSync(directory, { recursive: true, force: true }));
  const member = await startOneMember(directory, SETTINGS);
  progress(`compaction: putting ${keys} keys`);
  await putMany(member.replica, { puts: keys, keys, valueBytes: bench.sizes.valueBytes });
  await compact(member, 0);
  return member;
}

function removedRows(member: OneMember): Promise<number> {
  return metricOf(member.endpoint, REMOVED_ROWS, '0');
}

/** Compacts at the newest revision; resolves when so many rows are gone, with the CPU seconds that this process spent. */
async function compact(member: OneMember, rows: number): Promise<number> {
  const before = await removedRows(member);
  const { revision } = member.replica.status();
  const cpuBefore = process.cpuUsage();
  await new Promise<void>((resolve, reject) => {
    submit(member.replica, { op: 'compact', revision }, 64, (error) =>
      error === undefined ? resolve() : reject(error),
    );
  });
  const isDone = async (): Promise<boolean> => (await removedRows(member)) - before >= rows;
  await waitUntil('history to be removed', COMPACT_TIMEOUT_MS, isDone, POLL_MS);
  const { user, system } = process.cpuUsage(cpuBefore);
  return (user + system) / 1e6;
}

/** CPU µs for each revision that a compaction removes. */
async function costOf(bench: Bench, member: OneMember, { keys, removed }: Case): Promise<number> {
  const { valueBytes } = bench.sizes;
  await putMany(member.replica, { puts: removed, keys, valueBytes });
  await sleep(REST_MS);
  return ((await compact(member, removed)) * 1e6) / removed;
}

/** Two cases in turn, and by what one costs more than the other for each revision removed. */
async function costRow(
  bench: Bench,
  row: RowId,
  cases: { readonly much: Case; readonly little: Case },
  note: string,
): Promise<RowResult> {
  await bench.systems.none();
  const { much, little } = cases;
  const large = await startWith(bench, much.keys);
  const small = much.keys === little.keys ? large : await startWith(bench, little.keys);
  const muchUs: number[] = [];
  const littleUs: number[] = [];
  for (let turn = 0; turn <= bench.sizes.repeats; turn += 1) {
    const [a, b] = [await costOf(bench, large, much), await costOf(bench, small, little)];
    if (turn === 0) continue; // cold code
    muchUs.push(a);
    littleUs.push(b);
  }
  await large.stop();
  if (small !== large) await small.stop();
  const [measured, against] = [sampleOf(muchUs), sampleOf(littleUs)];
  return rowOf(row, measured.median / against.median, {
    measured,
    against,
    note: `CPU µs a removed revision; ${note}`,
    detail: { much, little, muchUs, littleUs },
  });
}

/** The cost follows the history that is removed. */
export function compactHistoryRow(bench: Bench): Promise<RowResult> {
  const { removed, fewKeys: keys } = bench.sizes.compaction;
  const cases = { much: { keys, removed: 4 * removed }, little: { keys, removed: removed / 2 } };
  const note = `${cases.much.removed} : ${cases.little.removed} revisions removed, ${keys} keys`;
  return costRow(bench, 'compact-history', cases, note);
}

/** The cost does not follow the number of keys there are. */
export function compactKeysRow(bench: Bench): Promise<RowResult> {
  const { removed, fewKeys, manyKeys } = bench.sizes.compaction;
  const cases = { much: { keys: manyKeys, removed }, little: { keys: fewKeys, removed } };
  const note = `${removed} revisions removed, among ${manyKeys} : ${fewKeys} keys`;
  return costRow(bench, 'compact-keys', cases, note);
}
