/** `npm run bench`: measures Kvorum beside etcd and bare Kafka on this machine; docs/benchmarks.md explains the rows. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type BenchArgs, readArgs, USAGE } from './args.ts';
import { Bench } from './bench.ts';
import { settingOf } from './machine.ts';
import { MEASURE } from './measure-rows.ts';
import { FULL, QUICK } from './plan.ts';
import { progress, Workspace } from './processes.ts';
import { profileRun } from './profile-run.ts';
import { REPO_ROOT } from './repo-root.ts';
import { cellsTable, microsecondsTable, rowLine, rowsTable } from './report.ts';
import { Results } from './results.ts';
import { GOALS, notMeasured, ROW_IDS, type RowId, type RowResult } from './rows.ts';
import { sweep } from './sweep.ts';
import { Systems } from './systems.ts';

const RESULTS = join(REPO_ROOT, 'bench/results.jsonl');
/** First what looks at a fresh fill, then throughput, last what kills members. Gets before puts: see etcd's restart. */
const ORDER: readonly RowId[] = [
  'growth',
  'memory',
  'gets',
  'grpc-range',
  'puts',
  'grpc-put',
  'grpc-txn',
  'grpc-watch',
  'grpc-keep-alive',
  'p50',
  'shards16',
  'restart',
  'failover',
  // Of a cluster of their own, or of none; what changes it most comes last.
  'during-snapshot',
  'during-compaction',
  // First, since it leaves as many shards as it found.
  'hand-over',
  'during-reshard',
  'snapshot',
  'install',
  'compact-history',
  'compact-keys',
];

/** The members and the load processes run compiled code, as users do. */
function build(): void {
  progress('building');
  const tsc = join(REPO_ROOT, 'node_modules/.bin/tsc');
  execFileSync(tsc, ['-b', 'packages/server', 'packages/client', 'packages/kvctl', 'bench'], {
    cwd: REPO_ROOT,
    stdio: ['ignore', 2, 2],
  });
}

async function measureRow(bench: Bench, row: RowId): Promise<RowResult> {
  progress(`row ${row}`);
  try {
    return await MEASURE[row](bench);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return notMeasured(row, 'FAILED', reason);
  }
}

async function measureAll(args: BenchArgs, workspace: Workspace): Promise<readonly RowResult[]> {
  const plan = args.quick ? QUICK : FULL;
  const sizes = { ...plan, keys: args.keys ?? plan.keys };
  const systems = new Systems(workspace, sizes, args.etcd);
  const setting = settingOf(args.quick, sizes.keys);
  const results = new Results(args.json ?? RESULTS, setting, systems.versions);
  const bench = new Bench(workspace, systems, sizes, results);
  const rows: RowResult[] = [];
  for (const row of ORDER) {
    if (args.rows.length > 0 && !args.rows.includes(row)) continue;
    const result = await measureRow(bench, row);
    if (workspace.isClosing) return rows; // interrupted: this row is not the system's failure
    rows.push(result);
    results.add('row', { goal: GOALS[row], ...result });
    console.log(rowLine(result));
  }
  if (args.sweep && !args.quick) await sweep(bench);
  if (workspace.isClosing) return rows;
  const { versions } = systems;
  console.log(`\n${JSON.stringify({ ...setting, versions })}\n`);
  if (sizes.keys !== FULL.keys) console.log(`${sizes.keys} keys, not the goals' ${FULL.keys}\n`);
  rows.sort((a, b) => ROW_IDS.indexOf(a.row) - ROW_IDS.indexOf(b.row));
  console.log(`${rowsTable(rows)}\n`);
  console.log(`${cellsTable(bench.cells)}\n`);
  console.log(microsecondsTable(bench.cells));
  return rows;
}

async function main(): Promise<number> {
  let args: BenchArgs | 'help';
  try {
    args = readArgs(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  if (args === 'help') {
    console.log(USAGE);
    return 0;
  }
  build();
  const workspace = new Workspace();
  workspace.closeOnSignals();
  try {
    if (args.profile !== undefined) {
      const file = args.json ?? RESULTS;
      await profileRun(workspace, {
        op: args.profile,
        grpc: args.grpc,
        inFlight: args.inFlight,
        file,
      });
      return 0;
    }
    const rows = await measureAll(args, workspace);
    return args.strict && rows.some(({ verdict }) => verdict !== 'ok') ? 1 : 0;
  } finally {
    progress('stopping every process of this run');
    await workspace.close();
  }
}

process.exitCode = await main();
