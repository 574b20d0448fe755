import type { Bench } from './bench.ts';
import { cellOf } from './cells.ts';
import { measure } from './comparison.ts';
import { progress } from './processes.ts';
import type { Filled } from './systems.ts';

const OPS = ['put', 'get', 'mixed'] as const;
const IN_FLIGHT = [1, 100, 1000, 5000] as const;
const SHARDS = [1, 4, 16] as const;

/** Every operation at every concurrency on every set-up, for the table of loads; no row depends on it. */
export async function sweep(bench: Bench): Promise<void> {
  await bench.systems.stopEtcd();
  for (const shards of SHARDS) {
    await orSayWhy(`${shards} shards`, async () => {
      const filled = await bench.systems.kvorum(shards);
      await sweepOne(bench, `kvorum, ${shards} shards`, filled, await bench.kvorumGroups(filled));
      await bench.systems.stopKvorum(shards);
    });
  }
  await orSayWhy('embedded', async () => {
    const embedded = await bench.systems.embedded();
    await sweepOne(bench, 'kvorum, embedded', embedded, { members: embedded.cluster.pids });
    await embedded.load.close();
    await embedded.cluster.stop();
  });
}

/** One set-up that fails does not take the others with it. */
async function orSayWhy(what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    progress(`table of loads, ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function sweepOne(
  bench: Bench,
  system: string,
  { load }: Filled,
  groups: Readonly<Record<string, readonly number[]>>,
): Promise<void> {
  for (const op of OPS) {
    for (const inFlight of IN_FLIGHT) {
      progress(`${system}: ${op}, ${inFlight} in flight`);
      const run = await measure({ load, op, inFlight, groups }, bench.sizes, bench.sizes.sweepMs);
      bench.addCell(cellOf(system, op, inFlight, [run]));
    }
  }
}
