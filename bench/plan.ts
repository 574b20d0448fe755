/** Sizes of one run: the same shape, longer or shorter. */
export interface Sizes {
  readonly keys: number;
  readonly valueBytes: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Windows of each side of a comparison, taken in turn. */
  readonly repeats: number;
  /** Windows that only look for the best concurrency. */
  readonly searchMs: number;
  readonly fillInFlight: number;
  readonly etcdInFlight: readonly number[];
  readonly etcdConnections: readonly number[];
  readonly kvorumInFlight: readonly number[];
  readonly restarts: number;
  readonly kills: number;
}

export const FULL: Sizes = {
  keys: 1_000_000,
  valueBytes: 256,
  warmUpMs: 2000,
  measureMs: 6000,
  repeats: 5,
  searchMs: 3000,
  fillInFlight: 1000,
  etcdInFlight: [64, 256, 512, 1000, 2000, 5000],
  etcdConnections: [1, 4, 8],
  kvorumInFlight: [1, 100, 1000, 5000],
  restarts: 3,
  kills: 3,
};

export const QUICK: Sizes = {
  ...FULL,
  keys: 100_000,
  warmUpMs: 500,
  measureMs: 2500,
  repeats: 3,
  searchMs: 1500,
  etcdInFlight: [512, 2000],
  etcdConnections: [4],
  kvorumInFlight: [1000, 5000],
  restarts: 1,
  kills: 1,
};
