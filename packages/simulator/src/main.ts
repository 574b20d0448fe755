import { spawn } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { printResult, runCampaign } from './campaign.ts';
import { writeHistory } from './checkers/history-file.ts';
import { HELP, type MutantOptions, parseOptions, type SimCommand } from './options.ts';
import { runSeed } from './run-seed.ts';

const WRONG_OPTIONS = 2;
const CI_SEEDS = 1000;

/** The planted bugs live with the tests, so that nothing that is shipped knows them. They change sources, not what is built of them. */
const MUTANTS = new URL('../test/mutants/main.ts', import.meta.url);

/** The command `npm run sim`; returns the exit code, 0 when every seed passed. */
export async function simulate(args: readonly string[]): Promise<number> {
  const command = parseOptions(args);
  if (command.ok) return run(command.value);
  console.error(`sim: ${command.error}`);
  return WRONG_OPTIONS;
}

async function run(command: SimCommand): Promise<number> {
  switch (command.kind) {
    case 'help':
      console.log(HELP);
      return 0;
    case 'one': {
      const { history: path, seed, trace } = command;
      const result = await runSeed(seed, {
        crossCheck: true,
        ...(trace ? { print: (line: string): void => console.log(line) } : {}),
        ...(path === undefined ? {} : { onHistory: (history) => writeHistory(path, history) }),
      });
      printResult(result);
      if (path !== undefined) console.log(`  history: ${path}; npm run check -- ${path}`);
      return result.problems.length === 0 ? 0 : 1;
    }
    case 'campaign': {
      const { failed } = await runCampaign(command);
      return failed.length === 0 ? 0 : 1;
    }
    case 'mutants':
      return runMutants(command);
    case 'ci': {
      const { workers } = command;
      const seeds = { from: 1, seeds: CI_SEEDS, minutes: undefined, workers };
      const { failed } = await runCampaign(seeds);
      const mutants = await runMutants({ from: 1, seeds: 20_000, fast: true, only: undefined });
      return failed.length === 0 ? mutants : 1;
    }
  }
}

function runMutants({ from, seeds, fast, only }: MutantOptions): Promise<number> {
  const args = [`--from=${from}`, `--seeds=${seeds}`];
  if (fast) args.push('--fast');
  if (only !== undefined) args.push(`--only=${only}`);
  const sources = ['--conditions=@kvorum/source', `--import=${import.meta.resolve('tsx')}`];
  const child = spawn(process.execPath, [...sources, fileURLToPath(MUTANTS), ...args], {
    stdio: 'inherit',
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = await simulate(process.argv.slice(2));
}
