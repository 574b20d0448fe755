import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { measure } from './comparison.ts';
import { KvorumCluster } from './kvorum.ts';
import { QUICK } from './plan.ts';
import { progress, type Workspace } from './processes.ts';
import { profilingOptions, summarize, topLines } from './profile.ts';
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
    profilingOptions(dir),
  );
  const { load } = await systems.fill(cluster);
  const groups = { members: cluster.pids, brokers: brokers.pids };
  const run = await measure({ load, op, inFlight, groups }, QUICK, MEASURE_MS);
  await load.close();
  await cluster.stop();
  const { byPart, byFunction } = summarize(dir);
  const total = { ops: run.ops, opsPerSecond: run.opsPerSecond, cpuUsPerOp: run.cpuUsPerOp };
  progress(`profiled: ${JSON.stringify(total)}`);
  console.log(`CPU µs per ${op} of all members, by package (${inFlight} in flight):`);
  console.log(topLines(byPart, run.ops, PARTS_SHOWN));
  console.log('\nby function (self time):');
  console.log(topLines(byFunction, run.ops, FUNCTIONS_SHOWN));
}
