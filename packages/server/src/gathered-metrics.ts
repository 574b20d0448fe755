import { Counter, Histogram, type Registry } from 'prom-client';

/** Takes one observation, or one addition, of a shard. */
export type ShardMetric = (shard: string, value: number) => void;

/** Gathered values are handed on at this number, asked for or not. */
const GATHERED_MAX = 512;

interface Spec {
  readonly name: string;
  readonly help: string;
}

/**
 * Values of a metric by shard, kept as they come and given to prom-client when it is asked or when they are many: it builds, checks and
 * hashes labels for each, which stood before every answer to a put.
 */
class Gathered {
  readonly #take: ShardMetric;
  #shards: string[] = [];
  #values: number[] = [];

  constructor(take: ShardMetric) {
    this.#take = take;
  }

  add(shard: string, value: number): void {
    this.#shards.push(shard);
    this.#values.push(value);
    if (this.#values.length >= GATHERED_MAX) this.handOn();
  }

  handOn(): void {
    const shards = this.#shards;
    const values = this.#values;
    this.#shards = [];
    this.#values = [];
    for (const [i, shard] of shards.entries()) this.#take(shard, values[i] ?? 0);
  }
}

/** A histogram by shard for the path of every write. */
export function shardHistogram(
  registry: Registry,
  spec: Spec & { readonly buckets: readonly number[] },
): ShardMetric {
  const gathered = new Gathered((shard, value) => histogram.observe({ shard }, value));
  const histogram: Histogram<'shard'> = new Histogram({
    ...spec,
    buckets: [...spec.buckets],
    labelNames: ['shard'],
    registers: [registry],
    collect: () => gathered.handOn(),
  });
  return (shard, value) => gathered.add(shard, value);
}

/** A counter by shard for the path of every write. */
export function shardCounter(registry: Registry, spec: Spec): ShardMetric {
  const gathered = new Gathered((shard, value) => counter.inc({ shard }, value));
  const counter: Counter<'shard'> = new Counter({
    ...spec,
    labelNames: ['shard'],
    registers: [registry],
    collect: () => gathered.handOn(),
  });
  return (shard, value) => gathered.add(shard, value);
}
