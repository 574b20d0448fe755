import type { DriverSpec } from './driver.ts';
import type { HistogramData } from './histogram.ts';
import type { MeasuredWindow, WindowSpec } from './measured-window.ts';

/** One measurement: N operations in flight, each loop starting its next when the last was answered. */
export interface LoadSpec extends WindowSpec {
  readonly op: 'put' | 'get' | 'mixed' | 'hop' | 'txn';
  readonly inFlight: number;
  /** Keys are drawn uniformly from [0, keyCount). */
  readonly keyCount: number;
  readonly valueBytes: number;
  readonly seed: number;
}

/** Streams that stay open: one lease kept alive on each, or one watch on each of a key that is put again and again. */
export interface StreamSpec extends WindowSpec {
  readonly op: 'keep-alive' | 'watch';
  readonly inFlight: number;
  readonly valueBytes: number;
}

/** Writes each key of [from, to) once, in order, timing every step of `stepKeys` keys. */
export interface FillSpec {
  readonly from: number;
  readonly to: number;
  readonly inFlight: number;
  readonly stepKeys: number;
  readonly valueBytes: number;
  readonly seed: number;
}

/** Keeps `inFlightPerLane` puts open on each lane and notes the longest silence of each. */
export interface GapSpec {
  readonly durationMs: number;
  readonly inFlightPerLane: number;
  readonly keyCount: number;
  readonly valueBytes: number;
  readonly seed: number;
}

export interface LoadResult extends MeasuredWindow {
  readonly ops: number;
  readonly missing: number;
  /** Failed operations by error text. */
  readonly errors: Readonly<Record<string, number>>;
  readonly latencyUs: HistogramData;
}

export interface FillResult {
  readonly seconds: number;
  /** Seconds since the start at which each further `stepKeys` keys had been acknowledged. */
  readonly stepSeconds: readonly number[];
  readonly errors: Readonly<Record<string, number>>;
}

export interface LaneGap {
  readonly lane: string;
  readonly longestGapMs: number;
  readonly acknowledged: number;
}

export interface GapResult {
  readonly lanes: readonly LaneGap[];
  readonly errors: Readonly<Record<string, number>>;
}

export type WorkerRequest =
  | { readonly kind: 'open'; readonly driver: DriverSpec }
  | { readonly kind: 'load'; readonly spec: LoadSpec }
  | { readonly kind: 'streams'; readonly spec: StreamSpec }
  | { readonly kind: 'fill'; readonly spec: FillSpec }
  | { readonly kind: 'gap'; readonly spec: GapSpec }
  | { readonly kind: 'close' };

export type WorkerAnswer =
  | { readonly kind: 'opened' }
  | { readonly kind: 'load'; readonly result: LoadResult }
  | { readonly kind: 'fill'; readonly result: FillResult }
  | { readonly kind: 'gap'; readonly result: GapResult }
  | { readonly kind: 'failed'; readonly message: string };

/** Key number `index`, below 2^31. Without a slash, so that each key is routed by itself and keys spread evenly. */
export function benchKey(index: number): Uint8Array {
  const key = new Uint8Array(12);
  key[0] = 0x6b;
  let rest = index | 0; // 32-bit division is several times cheaper, and a key is made for every operation
  for (let at = 11; at > 0; at -= 1) {
    const next = (rest / 10) | 0;
    key[at] = 0x30 + rest - 10 * next;
    rest = next;
  }
  return key;
}
