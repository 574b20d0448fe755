/** Sub-buckets of one power of two: a recorded value is off by less than 1/64 of itself. */
const SUB_BUCKETS = 64;
const SUB_BITS = 6;
/** 2^31 µs is 35 minutes: nothing the benchmarks wait for is longer, and below it whole numbers are 32-bit. */
const VALUE_MAX = 2 ** 31 - 1;
const BUCKET_COUNT = (SUB_BUCKETS / 2) * (31 - SUB_BITS + 2);

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
  const whole = us > VALUE_MAX ? VALUE_MAX : Math.round(us);
  if (whole < SUB_BUCKETS) return Math.max(0, whole);
  const exponent = 32 - SUB_BITS - Math.clz32(whole);
  // Each power of two above the first holds only its upper half: the lower half is the power before.
  return exponent * (SUB_BUCKETS / 2) + (whole >>> exponent);
}

function middleOf(index: number): number {
  if (index < SUB_BUCKETS) return index;
  const exponent = Math.floor(index / (SUB_BUCKETS / 2)) - 1;
  const mantissa = index - exponent * (SUB_BUCKETS / 2);
  return (mantissa + 0.5) * 2 ** exponent;
}
