import { sequence, type Traits } from './generate.ts';
import { type Difference, Lockstep, type Pair, type Rules } from './lockstep.ts';
import { normalText } from './normal-form.ts';
import { type Operation, operationText } from './operation.ts';
import { shrink, simplify } from './shrink.ts';
import { simplerOperations } from './simpler.ts';

const LENGTH = 60;
const REPEATS = 3;

export interface CampaignOptions {
  /** Each runs sequences of its own, all at once: most of the time of one is spent waiting. */
  readonly pairs: readonly Pair[];
  readonly traits: Traits;
  readonly rules: Rules;
  /** Of the first sequence; the ones after it count up. */
  readonly seed: number;
  readonly operations: number;
  /** Takes each sequence's difference as it is, and the run goes on. */
  readonly onDifference?: (finding: Finding) => void;
  /** A difference that showed once and not again. */
  readonly onUnsteady?: (finding: Finding) => void;
  readonly onProgress?: (operations: number, seed: number) => void;
}

export interface Finding {
  readonly pair: Pair;
  readonly seed: number;
  readonly operations: readonly Operation[];
  readonly difference: Difference;
}

/** Sequence after sequence until so many operations have run, or one shows a difference: that one, shrunk. */
export async function runCampaign(options: CampaignOptions): Promise<Finding | undefined> {
  const progress = { seed: options.seed, left: options.operations, found: undefined };
  const { pairs } = options;
  const found = await Promise.all(pairs.map((pair) => new Campaign(options, pair).run(progress)));
  return found.find((finding) => finding !== undefined);
}

/** What the pairs share: the next seed, and how much is left to do. */
interface Progress {
  seed: number;
  left: number;
}

class Campaign {
  readonly #options: CampaignOptions;
  readonly #pair: Pair;

  constructor(options: CampaignOptions, pair: Pair) {
    this.#options = options;
    this.#pair = pair;
  }

  async run(progress: Progress): Promise<Finding | undefined> {
    const { traits, operations: all, onProgress, onUnsteady, onDifference } = this.#options;
    while (progress.left > 0) {
      const { seed } = progress;
      progress.seed += 1;
      progress.left -= LENGTH;
      const operations = sequence(seed, LENGTH, traits);
      const difference = await this.#difference(operations);
      if (difference !== undefined) {
        const finding = { pair: this.#pair, seed, ...ending(operations, difference) };
        if (onDifference !== undefined) onDifference(finding);
        else if (await this.#showsAgain(operations)) {
          progress.left = 0;
          return this.#shrunk(finding);
        } else onUnsteady?.(finding);
      }
      onProgress?.(all - progress.left, seed);
    }
    return undefined;
  }

  async #difference(operations: readonly Operation[]): Promise<Difference | undefined> {
    return Lockstep.run(this.#pair, operations, this.#options.rules);
  }

  /** What does not show again hung on the time, on either side. */
  async #showsAgain(operations: readonly Operation[]): Promise<boolean> {
    for (let i = 0; i < REPEATS; i += 1) {
      if ((await this.#difference(operations)) !== undefined) return true;
    }
    return false;
  }

  async #shrunk(whole: Finding): Promise<Finding> {
    let finding = whole;
    const shows = async (operations: readonly Operation[]): Promise<boolean> => {
      const found = await this.#difference(operations);
      if (found === undefined || !isAlike(found, whole.difference)) return false;
      finding = { ...whole, ...ending(operations, found) };
      return true;
    };
    await shrink(finding.operations, shows);
    await simplify(finding.operations, simplerOperations, shows);
    return finding;
  }
}

/** What comes after a difference has no part in it. */
function ending(
  operations: readonly Operation[],
  difference: Difference,
): Pick<Finding, 'operations' | 'difference'> {
  return { operations: operations.slice(0, difference.at + 1), difference };
}

/** Not another difference, which a shorter sequence may show too. */
function isAlike(one: Difference, other: Difference): boolean {
  return (
    one.where.startsWith('answer') === other.where.startsWith('answer') && what(one) === what(other)
  );
}

function what({ operation }: Difference): string {
  return operation.kind === 'call' ? operation.method : operation.kind;
}

/** The seed, the steps and the two answers. */
export function findingText(finding: Finding): string {
  const { seed, operations } = finding;
  return [
    `seed ${seed}, shrunk to ${operations.length} operations:`,
    ...operations.map((one) => `  ${operationText(one)}`),
    differenceText(finding),
  ].join('\n');
}

/** The last step and the two answers. */
export function differenceText({ pair, seed, difference }: Finding): string {
  const { where, reference, candidate, operation } = difference;
  return [
    `seed ${seed}, after ${operationText(operation)}: ${where}`,
    `  ${pair.reference.name}: ${normalText(reference)}`,
    `  ${pair.candidate.name}: ${normalText(candidate)}`,
  ].join('\n');
}
