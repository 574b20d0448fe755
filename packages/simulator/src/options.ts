import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { err, ok, type Result } from '@kvorum/base';

export const HELP = `Whole clusters under simulated faults, one per seed, checked all the while.

npm run sim -- [--seeds 200] [--from 1] [--minutes M] [--workers W]
    Runs that many seeds, or as many as fit into M minutes, in W processes (default: one a core).
npm run sim -- --seed N [--trace] [--history FILE]
    Runs one seed again, exactly; --trace prints everything that happens, --history writes what the
    clients did and saw, for npm run check.
npm run sim -- --mutants [--fast] [--only NAME] [--seeds 20000] [--from 1]
    Plants known bugs, one at a time, and runs seeds until each is caught. --fast leaves out the
    slow ones, --only takes those whose name holds NAME. Fails when one survives all its seeds.
npm run sim -- --ci
    What a continuous integration runs: 1,000 seeds and all fast mutants.

Exit code: 0 all is well, 1 something was found (or a mutant survived), 2 the options are wrong.`;

export type SimCommand =
  | { readonly kind: 'help' }
  | {
      readonly kind: 'one';
      readonly seed: number;
      readonly trace: boolean;
      readonly history: string | undefined;
    }
  | ({ readonly kind: 'campaign' } & CampaignOptions)
  | ({ readonly kind: 'mutants' } & MutantOptions)
  | { readonly kind: 'ci'; readonly workers: number };

export interface CampaignOptions {
  readonly from: number;
  /** How many; undefined = until the time is over. */
  readonly seeds: number | undefined;
  readonly minutes: number | undefined;
  readonly workers: number;
}

export interface MutantOptions {
  readonly from: number;
  readonly seeds: number;
  readonly fast: boolean;
  readonly only: string | undefined;
}

const OPTIONS = {
  seeds: { type: 'string' },
  from: { type: 'string' },
  minutes: { type: 'string' },
  workers: { type: 'string' },
  seed: { type: 'string' },
  trace: { type: 'boolean' },
  history: { type: 'string' },
  mutants: { type: 'boolean' },
  fast: { type: 'boolean' },
  only: { type: 'string' },
  ci: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;
type OptionName = keyof typeof OPTIONS;

/** What each form of the command takes besides its own option. */
const FORMS: readonly {
  readonly by: OptionName | undefined;
  readonly takes: readonly OptionName[];
}[] = [
  { by: 'ci', takes: ['workers'] },
  { by: 'mutants', takes: ['fast', 'only', 'seeds', 'from'] },
  { by: 'seed', takes: ['trace', 'history'] },
  { by: undefined, takes: ['seeds', 'from', 'minutes', 'workers'] },
];

const SEEDS = 200;
const MUTANT_SEEDS = 20_000;

/** Reads the command line; the error says what to write instead. */
export function parseOptions(args: readonly string[]): Result<SimCommand, string> {
  try {
    const { values } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: false });
    return ok(commandOf(values));
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}

type Values = { readonly [Name in OptionName]?: string | boolean };

function commandOf(values: Values): SimCommand {
  if (values.help === true) return { kind: 'help' };
  const by = formOf(values);
  const from = whole(values, 'from', 0) ?? 1;
  const workers = whole(values, 'workers', 1) ?? availableParallelism();
  switch (by) {
    case 'ci':
      return { kind: 'ci', workers };
    case 'mutants': {
      const seeds = whole(values, 'seeds', 1) ?? MUTANT_SEEDS;
      return { kind: 'mutants', from, seeds, fast: values.fast === true, only: text(values.only) };
    }
    case 'seed': {
      const seed = whole(values, 'seed', 0) ?? 0;
      const history = text(values.history);
      return { kind: 'one', seed, trace: values.trace === true, history };
    }
    default: {
      const minutes = positive(values, 'minutes');
      const seeds = whole(values, 'seeds', 1) ?? (minutes === undefined ? SEEDS : undefined);
      return { kind: 'campaign', from, seeds, minutes, workers };
    }
  }
}

/** The option that says which form of the command it is; refuses what that form does not take. */
function formOf(values: Values): OptionName | undefined {
  const form = FORMS.find(({ by }) => by === undefined || values[by] !== undefined);
  const given = Object.keys(values) as OptionName[];
  const strange = given.find((name) => name !== form?.by && form?.takes.includes(name) !== true);
  if (strange === undefined) return form?.by;
  const beside = form?.by === undefined ? 'alone' : `together with --${form.by}`;
  throw new RangeError(`--${strange} has no meaning ${beside}; see --help`);
}

function text(value: string | boolean | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function whole(values: Values, name: OptionName, least: number): number | undefined {
  const text = values[name];
  if (typeof text !== 'string') return undefined;
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new RangeError(`--${name} takes a whole number from ${least} on, not "${text}"`);
}

function positive(values: Values, name: OptionName): number | undefined {
  const text = values[name];
  if (typeof text !== 'string') return undefined;
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number) && number > 0) return number;
  throw new RangeError(`--${name} takes a number above 0, not "${text}"`);
}
