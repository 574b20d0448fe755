import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { measure } from './comparison.ts';
import { KvorumCluster } from './kvorum.ts';
import { QUICK } from './plan.ts';
import { progress, type Workspace } from './processes.ts';
import { profilingArgs, summarize, topLines } from './profile.ts';
import { Systems } from './systems.ts';
import type { LoadSpec } from './worker/load-spec.ts';

const SHARDS = 4;
const MEASURE_MS = 15_000;
const FUNCTIONS_SHOWN = 40;
const PARTS_SHOWN = 20;

/**
 * Runs one load on three members under V8's sampling profiler and prints where their time went. The
 * profiler itself costs time, so the throughput it prints is not a result.
 */
export async function profileMembers(
  workspace: Workspace,
  op: LoadSpec['op'],
  inFlight: number,
): Promise<void> {
  const dir = join(workspace.dir, 'profiles');
  mkdirSync(dir);
  const systems = new Systems(workspace, QUICK, undefined);
  const brokers = await systems.brokers();
  const cluster = await KvorumCluster.startOnKafka(
    workspace,
    brokers.addresses,
    SHARDS,
    profilingArgs(dir),
  );
  const { load } = await systems.fill(cluster);
  const groups = { members: cluster.pids, brokers: brokers.pids };
  const fromUs = Number(process.hrtime.bigint() / 1000n) + QUICK.warmUpMs * 1000;
  const run = await measure({ load, op, inFlight, groups }, QUICK, MEASURE_MS);
  await load.close();
  await cluster.stop();
  const { byPart, byFunction } = summarize(dir, {
    fromUs,
    toUs: fromUs + MEASURE_MS * 1000,
  });
  const cpuUsPerOp = run.cpuUsPerOp['members'] ?? Number.NaN;
  const total = { ops: run.ops, opsPerSecond: run.opsPerSecond, cpuUsPerOp: run.cpuUsPerOp };
  progress(`profiled: ${JSON.stringify(total)}`);
  console.log(`CPU µs per ${op} of all members, by package (${inFlight} in flight):`);
  console.log(topLines(byPart, cpuUsPerOp, PARTS_SHOWN));
  console.log('\nby function (self time):');
  console.log(topLines(byFunction, cpuUsPerOp, FUNCTIONS_SHOWN));
}
