/** How the best concurrency is looked for; see search.ts. */
export interface SearchSizes {
  /** Before each of the short windows: more than the time one operation waits at the highest concurrency. */
  readonly warmUpMs: number;
  readonly coarseMs: number;
  readonly coarseKept: number;
  readonly fineMs: number;
  readonly fineKept: number;
  readonly confirmMs: number;
  /** Windows of each of the last candidates, taken in turn. */
  readonly confirmTurns: number;
}

/** How the latency of one operation at a time is measured; see latency-row.ts. */
export interface LatencySizes {
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Windows of each side, taken in turn. */
  readonly turns: number;
  /** Windows to run before, at most, until two in a row agree. */
  readonly settleWindows: number;
}

/** How the rows of gRPC are measured; see grpc-rows.ts. */
export interface GrpcSizes {
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Windows of each side, taken in turn. */
  readonly turns: number;
}

/** What is removed by compactions whose cost is measured; see compaction-cost.ts. */
export interface CompactionSizes {
  readonly removed: number;
  readonly fewKeys: number;
  readonly manyKeys: number;
}

/** Sizes of one run: the same shape, longer or shorter. */
export interface Sizes {
  readonly keys: number;
  readonly valueBytes: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** Windows of each side of a comparison, taken in turn. */
  readonly repeats: number;
  readonly search: SearchSizes;
  readonly latency: LatencySizes;
  readonly grpc: GrpcSizes;
  /** One window of a load that belongs to no row. */
  readonly sweepMs: number;
  readonly fillInFlight: number;
  /** Ascending; tried on both sides of a comparison. */
  readonly inFlight: readonly number[];
  readonly etcdConnections: readonly number[];
  readonly restarts: number;
  readonly kills: number;
  /** What a compaction under load removes. */
  readonly historyRevisions: number;
  readonly compaction: CompactionSizes;
}

export const FULL: Sizes = {
  keys: 1_000_000,
  valueBytes: 256,
  warmUpMs: 2000,
  measureMs: 6000,
  repeats: 5,
  search: {
    warmUpMs: 600,
    coarseMs: 1000,
    coarseKept: 6,
    fineMs: 1500,
    fineKept: 3,
    confirmMs: 4000,
    confirmTurns: 2,
  },
  latency: { warmUpMs: 250, measureMs: 1500, turns: 10, settleWindows: 20 },
  grpc: { warmUpMs: 1000, measureMs: 3000, turns: 5 },
  sweepMs: 3000,
  fillInFlight: 1000,
  inFlight: [64, 256, 512, 1000, 2000, 5000],
  etcdConnections: [1, 4, 8],
  restarts: 3,
  kills: 3,
  historyRevisions: 5_000_000,
  compaction: { removed: 100_000, fewKeys: 10_000, manyKeys: 1_000_000 },
};

export const QUICK: Sizes = {
  ...FULL,
  keys: 100_000,
  warmUpMs: 500,
  measureMs: 2500,
  repeats: 3,
  search: {
    warmUpMs: 400,
    coarseMs: 800,
    coarseKept: 1,
    fineMs: 1000,
    fineKept: 2,
    confirmMs: 1500,
    confirmTurns: 1,
  },
  latency: { warmUpMs: 200, measureMs: 1000, turns: 5, settleWindows: 10 },
  grpc: { warmUpMs: 400, measureMs: 1500, turns: 2 },
  inFlight: [256, 1000, 5000],
  etcdConnections: [4],
  restarts: 1,
  kills: 1,
  historyRevisions: 300_000,
  compaction: { removed: 20_000, fewKeys: 1000, manyKeys: 100_000 },
};
