import { sequence, type Traits } from './generate.ts';
import { type Difference, type Intended, Lockstep, type Pair } from './lockstep.ts';
import { normalText } from './normal-form.ts';
import { type Operation, operationText } from './operation.ts';
import { shrink, simplify } from './shrink.ts';
import { simplerOperations } from './simpler.ts';

const LENGTH = 60;
const REPEATS = 3;

export interface CampaignOptions {
  readonly pair: Pair;
  readonly traits: Traits;
  readonly intended: Intended;
  /** Of the first sequence; the ones after it count up. */
  readonly seed: number;
  readonly operations: number;
  /** A difference that showed once and not again. */
  readonly onUnsteady?: (finding: Finding) => void;
  readonly onProgress?: (operations: number, seed: number) => void;
}

export interface Finding {
  readonly seed: number;
  readonly operations: readonly Operation[];
  readonly difference: Difference;
}

/** Sequence after sequence until so many operations have run, or one shows a difference: that one, shrunk. */
export async function runCampaign(options: CampaignOptions): Promise<Finding | undefined> {
  let { seed } = options;
  for (let done = 0; done < options.operations; done += LENGTH, seed += 1) {
    const operations = sequence(seed, LENGTH, options.traits);
    const difference = await Lockstep.run(options.pair, operations, options.intended);
    if (difference !== undefined && (await showsAgain(options, operations))) {
      return shrunk(options, seed, operations, difference);
    }
    if (difference !== undefined) {
      options.onUnsteady?.({ seed, operations: operations.slice(0, difference.at + 1), difference });
    }
    options.onProgress?.(done + LENGTH, seed);
  }
  return undefined;
}

/** What does not show again hung on the time, on either side. */
async function showsAgain(
  { pair, intended }: CampaignOptions,
  operations: readonly Operation[],
): Promise<boolean> {
  for (let i = 0; i < REPEATS; i += 1) {
    if ((await Lockstep.run(pair, operations, intended)) !== undefined) return true;
  }
  return false;
}

async function shrunk(
  { pair, intended }: CampaignOptions,
  seed: number,
  whole: readonly Operation[],
  difference: Difference,
): Promise<Finding> {
  let finding: Finding = { seed, operations: whole.slice(0, difference.at + 1), difference };
  const shows = async (operations: readonly Operation[]): Promise<boolean> => {
    const found = await Lockstep.run(pair, operations, intended);
    if (found === undefined || !isAlike(found, difference)) return false;
    finding = { seed, operations: operations.slice(0, found.at + 1), difference: found };
    return true;
  };
  await shrink(finding.operations, shows);
  await simplify(finding.operations, simplerOperations, shows);
  return finding;
}

/** Not another difference, which a shorter sequence may show too. */
function isAlike(one: Difference, other: Difference): boolean {
  return (one.where === 'answer') === (other.where === 'answer') && what(one) === what(other);
}

function what({ operation }: Difference): string {
  return operation.kind === 'call' ? operation.method : operation.kind;
}

/** The seed, the steps and the two answers. */
export function findingText({ seed, operations, difference }: Finding, pair: Pair): string {
  const { where, reference, candidate, operation } = difference;
  return [
    `seed ${seed}, shrunk to ${operations.length} operations:`,
    ...operations.map((one) => `  ${operationText(one)}`),
    `after ${operationText(operation)}: ${where}`,
    `  ${pair.reference.name}: ${normalText(reference)}`,
    `  ${pair.candidate.name}: ${normalText(candidate)}`,
  ].join('\n');
}
