import type { Load, Measurement } from './load.ts';
import type { Sizes } from './plan.ts';
import type { LoadSpec, StreamSpec } from './worker/load-spec.ts';

/** One load to be measured: what to send, how many at once, whose CPU time to note. */
export interface Side {
  readonly load: Load;
  readonly op: LoadSpec['op'] | StreamSpec['op'];
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
  const { op, inFlight, groups } = side;
  const { warmUpMs, valueBytes } = sizes;
  const spec = { inFlight, warmUpMs, measureMs, valueBytes, groups };
  if (op === 'watch' || op === 'keep-alive') return side.load.streams({ op, ...spec });
  // Both sides of a turn draw the same keys.
  return side.load.run({ op, ...spec, keyCount: sizes.keys, seed: SEED + 1000 * turn });
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
