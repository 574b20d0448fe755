import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MUTANTS } from './catalogue.ts';
import type { Mutant } from './mutant.ts';
import type { Hunt, Verdict } from './run-mutant.ts';

const RUNNER = fileURLToPath(new URL('./run-mutant.ts', import.meta.url));

/** A seed that takes longer than this hangs: a mutant may well loop for ever. */
const HANG_MS = 120_000;

interface Plan {
  readonly from: number;
  readonly seeds: number;
  /** Processes at a time. */
  readonly workers: number;
}

/** Runs one mutant in a process of its own. */
function hunt({ name, edits = [] }: Mutant, { from, seeds }: Plan): Promise<Verdict> {
  const order: Hunt = { name, edits, from, seeds };
  return new Promise((resolve, reject) => {
    let verdict: Verdict | undefined;
    const child = fork(RUNNER);
    child.send(order);
    let watchdog: NodeJS.Timeout | undefined;
    child.on('message', (message: Verdict | number) => {
      clearTimeout(watchdog);
      if (typeof message !== 'number') {
        verdict = message;
        return;
      }
      watchdog = setTimeout(() => {
        verdict = { seeds: message, caught: { invariant: 'liveness', text: 'it hangs' } };
        child.kill('SIGKILL');
      }, HANG_MS);
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      clearTimeout(watchdog);
      if (verdict !== undefined) resolve(verdict);
      else reject(new RangeError(`${name}: its process ended with ${signal ?? code}`));
    });
  });
}

/** Prints one line a mutant; returns the names of those that nothing caught. */
async function huntAll(mutants: readonly Mutant[], plan: Plan): Promise<readonly string[]> {
  const survivors: string[] = [];
  const startedMs = performance.now();
  const waiting = [...mutants];
  const work = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const beganMs = performance.now();
      const { caught, seeds } = await hunt(mutant, plan);
      const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
      const by = caught === undefined ? 'SURVIVED' : `[${caught.invariant}]`;
      const text = caught?.text.split('\n')[0]?.slice(0, 120) ?? '';
      console.log(`${mutant.name}: ${by} after ${seeds} seeds, ${seconds} s ${text}`);
      if (caught === undefined) survivors.push(mutant.name);
    }
  };
  await Promise.all(Array.from({ length: plan.workers }, work));
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const caught = mutants.length - survivors.length;
  console.log(`${mutants.length} mutants, ${caught} caught, ${seconds} s`);
  if (survivors.length > 0) console.log(`not caught: ${survivors.join('; ')}`);
  return survivors;
}

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '20000' },
    fast: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    workers: { type: 'string', default: String(availableParallelism()) },
  },
});
const chosen = MUTANTS.filter(
  ({ name, slow }) => name.includes(values.only) && !(values.fast && slow === true),
);
if (chosen.length === 0) {
  console.error(`sim: no mutant's name holds "${values.only}"`);
  process.exitCode = 2;
} else {
  const plan = {
    from: Number(values.from),
    seeds: Number(values.seeds),
    workers: Number(values.workers),
  };
  process.exitCode = (await huntAll(chosen, plan)).length === 0 ? 0 : 1;
}
