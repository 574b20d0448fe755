import process from 'node:process';
import { parseArgs } from 'node:util';
import { type RunResult, runSeed } from './run-seed.ts';

const HELP = `npm run sim -- [--seeds 200] [--from 1]    run that many seeds
npm run sim -- --seed N [--trace]          run one seed again, exactly; --trace prints what happens`;

/** One in so many seeds runs twice: the digests of its traces must agree. */
const TWICE_EVERY = 50;

/** The command `npm run sim`; returns the exit code, 0 when every seed passed. */
export async function simulate(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string', default: '200' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (values.seed !== undefined) return one(Number(values.seed), values.trace);
  return many(Number(values.from), Number(values.seeds));
}

async function one(seed: number, trace: boolean): Promise<number> {
  const result = await runSeed(seed, trace ? { print: (line) => console.log(line) } : {});
  report(result);
  return result.problems.length === 0 ? 0 : 1;
}

async function many(from: number, count: number): Promise<number> {
  let failed = 0;
  const total = { opCount: 0, okCount: 0, unknownCount: 0, revisionCount: 0, fencedCount: 0 };
  const startedMs = performance.now();
  for (let seed = from; seed < from + count; seed += 1) {
    const result = await runSeed(seed);
    for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += result[name];
    const again = seed % TWICE_EVERY === 0 ? await runSeed(seed) : result;
    if (again.traceDigest !== result.traceDigest) {
      failed += 1;
      console.error(`seed ${seed}: NOT DETERMINISTIC: two runs left different traces`);
    }
    if (result.problems.length === 0) continue;
    failed += 1;
    report(result);
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const counts = Object.entries(total).map(([name, n]) => `${name.replace('Count', '')} ${n}`);
  console.log(`${count} seeds from ${from}, ${failed} failed, ${seconds} s; ${counts.join(', ')}`);
  return failed === 0 ? 0 : 1;
}

function report(result: RunResult): void {
  const { problems, seed, swarm, traceDigest, ...counts } = result;
  const verdict = problems.length === 0 ? 'ok' : 'FAILED';
  console.log(`seed ${seed}: ${verdict}, trace ${traceDigest}, ${JSON.stringify(counts)}`);
  if (problems.length === 0) return;
  for (const problem of problems) console.log(`  ${problem}`);
  console.log(`  options ${JSON.stringify(swarm)}`);
  console.log(`  replay: npm run sim -- --seed ${seed} --trace`);
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = await simulate(process.argv.slice(2));
}
