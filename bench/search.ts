import { measure, type Side } from './comparison.ts';
import type { Sizes } from './plan.ts';
import { progress } from './processes.ts';
import { sampleOf } from './rows.ts';

/** One way to load a system, at any concurrency. */
export interface Way extends Omit<Side, 'inFlight'> {
  /** In words, for the results. */
  readonly how: string;
}

/** A way at one concurrency. */
export interface Candidate extends Way {
  readonly inFlight: number;
}

/** What a candidate reached in one round. */
export interface Found {
  readonly how: string;
  readonly inFlight: number;
  readonly opsPerSecond: number;
}

export interface SearchResult {
  readonly best: Candidate;
  /** Every round, best first: what the choice was made from. */
  readonly rounds: readonly { readonly windowMs: number; readonly found: readonly Found[] }[];
}

type Scored = readonly [candidate: Candidate, opsPerSecond: number];

/**
 * The way and concurrency with most operations a second, by successive halving: short windows on every way and every
 * other concurrency; longer ones on the best of these and their neighbours; long ones, in turn, on the best of those.
 * An early round only has to keep the best among those it lets through, so it may be noisy.
 */
export async function search(ways: readonly Way[], sizes: Sizes): Promise<SearchResult> {
  const { inFlight, search: plan } = sizes;
  const short = { ...sizes, warmUpMs: plan.warmUpMs };
  const coarse = inFlight.length < 3 ? inFlight : inFlight.filter((_, i) => i % 2 === 1);
  const grid = ways.flatMap((way) => coarse.map((each) => ({ ...way, inFlight: each })));
  const first = await round(grid, short, plan.coarseMs, 1);
  const near = withNeighbours(kept(first, plan.coarseKept), inFlight);
  const second = await round(near, short, plan.fineMs, 1);
  const last = await round(
    kept(second, plan.fineKept),
    { ...sizes, warmUpMs: Math.max(plan.warmUpMs, sizes.warmUpMs / 2) },
    plan.confirmMs,
    plan.confirmTurns,
  );
  const [best] = kept(last, 1);
  if (best === undefined) throw new Error('a search needs at least one way');
  progress(`best for ${best.op}: ${best.how}, ${best.inFlight} in flight`);
  const windows = [plan.coarseMs, plan.fineMs, plan.confirmMs];
  const rounds = [first, second, last].map((scored, i) => ({
    windowMs: windows[i] ?? Number.NaN,
    found: scored.map(([{ how, inFlight: open }, opsPerSecond]) => ({
      how,
      inFlight: open,
      opsPerSecond: Math.round(opsPerSecond),
    })),
  }));
  return { best, rounds };
}

/** The median rate of each candidate over `turns` windows taken in turn, best first. */
async function round(
  candidates: readonly Candidate[],
  sizes: Sizes,
  windowMs: number,
  turns: number,
): Promise<readonly Scored[]> {
  const rates = candidates.map((): number[] => []);
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [i, candidate] of candidates.entries()) {
      const { opsPerSecond } = await measure(candidate, sizes, windowMs, turn);
      rates[i]?.push(opsPerSecond);
    }
  }
  return candidates
    .map((candidate, i) => [candidate, sampleOf(rates[i] ?? []).median] as const)
    .sort(([, a], [, b]) => b - a);
}

function kept(scored: readonly Scored[], count: number): readonly Candidate[] {
  return scored.slice(0, count).map(([candidate]) => candidate);
}

/** The candidates and, on the same way, the concurrencies next to theirs; each once. */
function withNeighbours(
  candidates: readonly Candidate[],
  inFlight: readonly number[],
): readonly Candidate[] {
  const all = candidates.flatMap((candidate) => {
    const at = inFlight.indexOf(candidate.inFlight);
    return inFlight
      .slice(Math.max(0, at - 1), at + 2)
      .map((each) => ({ ...candidate, inFlight: each }));
  });
  return Array.from(new Map(all.map((each) => [`${each.how} ${each.inFlight}`, each])).values());
}
