import type { Load, Measurement } from './load.ts';
import type { Sizes } from './plan.ts';
import type { LoadSpec } from './worker/load-spec.ts';

/** One load to be measured: what to send, how many at once, whose CPU time to note. */
export interface Side {
  readonly load: Load;
  readonly op: LoadSpec['op'];
  readonly inFlight: number;
  readonly groups: LoadSpec['groups'];
}

const SEED = 7;

export async function measure(
  side: Side,
  sizes: Sizes,
  measureMs: number,
  turn: number = 0,
): Promise<Measurement> {
  return side.load.run({
    op: side.op,
    inFlight: side.inFlight,
    warmUpMs: sizes.warmUpMs,
    measureMs,
    keyCount: sizes.keys,
    valueBytes: sizes.valueBytes,
    // Both sides of a turn draw the same keys.
    seed: SEED + 1000 * turn,
    groups: side.groups,
  });
}

/** Measures two sides in turn (A B A B …), so that a slower minute of the machine meets both. */
export async function inTurn(
  a: Side,
  b: Side,
  sizes: Sizes,
): Promise<readonly [readonly Measurement[], readonly Measurement[]]> {
  const runsA: Measurement[] = [];
  const runsB: Measurement[] = [];
  for (let turn = 0; turn < sizes.repeats; turn += 1) {
    runsA.push(await measure(a, sizes, sizes.measureMs, turn));
    runsB.push(await measure(b, sizes, sizes.measureMs, turn));
  }
  return [runsA, runsB];
}
