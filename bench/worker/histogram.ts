/** Sub-buckets of one power of two: a recorded value is off by less than 1/64 of itself. */
const SUB_BUCKETS = 64;
const SUB_BITS = 6;
/** 2^36 µs is 19 hours: nothing the benchmarks wait for is longer. */
const BUCKET_COUNT = SUB_BUCKETS * (36 - SUB_BITS + 1);

/** A histogram as it travels between processes: pairs of bucket index and count. */
export interface HistogramData {
  readonly buckets: readonly (readonly [index: number, count: number])[];
}

/** Latencies in µs with a bounded relative error, in constant memory (the idea of HdrHistogram). */
export class Histogram {
  readonly #counts = new Float64Array(BUCKET_COUNT);
  #total = 0;

  static from(data: HistogramData): Histogram {
    const histogram = new Histogram();
    histogram.add(data);
    return histogram;
  }

  get total(): number {
    return this.#total;
  }

  record(us: number): void {
    const index = bucketOf(us);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#total += 1;
  }

  add(data: HistogramData): void {
    for (const [index, count] of data.buckets) {
      this.#counts[index] = (this.#counts[index] ?? 0) + count;
      this.#total += count;
    }
  }

  /** The value in µs below or at which `share` (0..1) of the records lie; NaN when there are none. */
  quantile(share: number): number {
    if (this.#total === 0) return Number.NaN;
    const rank = Math.max(1, Math.ceil(share * this.#total));
    let seen = 0;
    for (let index = 0; index < BUCKET_COUNT; index += 1) {
      seen += this.#counts[index] ?? 0;
      if (seen >= rank) return middleOf(index);
    }
    return Number.NaN;
  }

  data(): HistogramData {
    const buckets: [number, number][] = [];
    for (let index = 0; index < BUCKET_COUNT; index += 1) {
      const count = this.#counts[index] ?? 0;
      if (count > 0) buckets.push([index, count]);
    }
    return { buckets };
  }
}

function bucketOf(us: number): number {
  const whole = Math.max(0, Math.round(us));
  if (whole < SUB_BUCKETS) return whole;
  const exponent = Math.floor(Math.log2(whole)) - SUB_BITS + 1;
  // Each power of two above the first holds only its upper half: the lower half is the power before.
  const index = exponent * (SUB_BUCKETS / 2) + Math.floor(whole / 2 ** exponent);
  return Math.min(index, BUCKET_COUNT - 1);
}

function middleOf(index: number): number {
  if (index < SUB_BUCKETS) return index;
  const exponent = Math.floor(index / (SUB_BUCKETS / 2)) - 1;
  const mantissa = index - exponent * (SUB_BUCKETS / 2);
  return (mantissa + 0.5) * 2 ** exponent;
}
