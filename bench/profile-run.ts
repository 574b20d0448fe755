import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { measure, type Side } from './comparison.ts';
import { openGrpcLoad } from './grpc-rows.ts';
import { KvorumCluster } from './kvorum.ts';
import { settingOf } from './machine.ts';
import { QUICK } from './plan.ts';
import { progress, type Workspace } from './processes.ts';
import { profilingArgs, sharesText, summarize, topShares } from './profile.ts';
import { Results } from './results.ts';
import { Systems } from './systems.ts';

const SHARDS = 4;
const MEASURE_MS = 12_000;
const FUNCTIONS_SHOWN = 40;
const FUNCTIONS_SAVED = 15;

export interface ProfileSpec {
  readonly op: Side['op'];
  /** Over etcd's API instead of the SDK. */
  readonly grpc: boolean;
  readonly inFlight: number;
  /** File that the JSON lines are appended to. */
  readonly file: string;
}

/**
 * Runs one load on three members, members and load under V8's sampling profiler, and prints where their time went.
 * The profiler itself costs time, so the throughput it prints is not a result.
 */
export async function profileRun(workspace: Workspace, spec: ProfileSpec): Promise<void> {
  const { op, inFlight, grpc } = spec;
  const dirs = { members: join(workspace.dir, 'members'), client: join(workspace.dir, 'client') };
  for (const dir of Object.values(dirs)) mkdirSync(dir);
  const systems = new Systems(workspace, QUICK, undefined);
  const results = new Results(spec.file, settingOf(true, QUICK.keys), systems.versions);
  const brokers = await systems.brokers();
  const cluster = await KvorumCluster.startOnKafka(workspace, brokers.addresses, SHARDS, {
    nodeArgs: profilingArgs(dirs.members),
  });
  const sdk = await systems.fill(cluster, grpc ? [] : profilingArgs(dirs.client));
  if (grpc) await sdk.load.close();
  const load = grpc
    ? await openGrpcLoad(workspace, cluster.endpoints, profilingArgs(dirs.client))
    : sdk.load;
  const groups = { members: cluster.pids, brokers: brokers.pids };
  progress(`profiling ${op}, ${inFlight} in flight`);
  const fromUs = Number(process.hrtime.bigint() / 1000n) + QUICK.warmUpMs * 1000;
  const run = await measure({ load, op, inFlight, groups }, QUICK, MEASURE_MS);
  await load.close();
  await cluster.stop();
  const window = { fromUs, toUs: fromUs + MEASURE_MS * 1000 };
  console.log(`${op}, ${inFlight} in flight: ${Math.round(run.opsPerSecond)}/s under the profiler`);
  for (const [who, dir] of Object.entries(dirs)) {
    const { byGroup, byPackage, byFunction } = summarize(dir, window);
    const cpuUsPerOp = run.cpuUsPerOp[who] ?? Number.NaN;
    const all = (times: typeof byGroup): ReturnType<typeof topShares> =>
      topShares(times, cpuUsPerOp, times.size);
    const functions = topShares(byFunction, cpuUsPerOp, FUNCTIONS_SHOWN);
    console.log(`\nCPU µs per ${op}, ${who}: ${cpuUsPerOp.toFixed(1)}, of which\n`);
    console.log(`${sharesText(all(byGroup))}\n\nby package:\n${sharesText(all(byPackage))}`);
    console.log(`\nby function (self time):\n${sharesText(functions)}`);
    const top = functions.slice(0, FUNCTIONS_SAVED);
    results.add('profile', { op, grpc, inFlight, who, cpuUsPerOp, groups: all(byGroup), top });
  }
}
