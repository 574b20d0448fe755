import { type Driver, NOT_FOUND } from './driver.ts';
import { Histogram } from './histogram.ts';
import {
  benchKey,
  type FillResult,
  type FillSpec,
  type GapResult,
  type GapSpec,
  type LoadResult,
  type LoadSpec,
} from './load-spec.ts';
import { measuredWindow, pause } from './measured-window.ts';
import { SeededRandom } from './seeded-random.ts';

/** Pause of one loop after a failed operation, so that a dead system is not hammered. */
const ERROR_PAUSE_MS = 10;
const VALUE_COUNT = 256;

/** The load's view of one run: values to write, and what went wrong. */
class Run {
  readonly errors: Record<string, number> = {};
  readonly random: SeededRandom;
  readonly #values: readonly Uint8Array[];

  constructor(seed: number, valueBytes: number) {
    this.random = new SeededRandom(seed);
    this.#values = Array.from({ length: VALUE_COUNT }, () => this.random.bytes(valueBytes));
  }

  value(): Uint8Array {
    return this.#values[this.random.below(VALUE_COUNT)] as Uint8Array;
  }

  async failed(error: unknown): Promise<void> {
    const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : '';
    const text = `${String(code)} ${error instanceof Error ? error.message : String(error)}`.trim();
    this.errors[text] = (this.errors[text] ?? 0) + 1;
    await pause(ERROR_PAUSE_MS);
  }
}

type Operation = (driver: Driver, run: Run, keyCount: number) => Promise<unknown>;

const put: Operation = (driver, run, keyCount) =>
  driver.put(benchKey(run.random.below(keyCount)), run.value());
const get: Operation = (driver, run, keyCount) => driver.get(benchKey(run.random.below(keyCount)));
const OPERATIONS: Readonly<Record<LoadSpec['op'], Operation>> = {
  put,
  get,
  mixed: (driver, run, keyCount) => (run.random.next() < 0.5 ? get : put)(driver, run, keyCount),
  hop: (driver, run, keyCount) => driver.hop(benchKey(run.random.below(keyCount))),
  txn: (driver, run, keyCount) => {
    if (driver.txn === undefined) throw new Error('this system is not asked for transactions');
    return driver.txn(benchKey(run.random.below(keyCount)), run.value());
  },
};

/**
 * A closed loop: `inFlight` loops, each with one operation open. Operations that END inside the window
 * count; the warm-up before it does not. One await and one look at the clock an operation: what the loop
 * costs, the systems under test cannot use.
 */
export async function runLoad(driver: Driver, spec: LoadSpec): Promise<LoadResult> {
  const run = new Run(spec.seed, spec.valueBytes);
  const latency = new Histogram();
  const operation = OPERATIONS[spec.op];
  let measuring = false;
  let stopped = false;
  let missing = 0;

  async function loop(): Promise<void> {
    let startedAt = performance.now();
    while (!stopped) {
      try {
        const answer = await operation(driver, run, spec.keyCount);
        const now = performance.now();
        if (measuring) {
          latency.record((now - startedAt) * 1000);
          if (answer === NOT_FOUND) missing += 1;
        }
        startedAt = now;
      } catch (error) {
        await run.failed(error);
        startedAt = performance.now();
      }
    }
  }

  const loops = Array.from({ length: spec.inFlight }, loop);
  const { seconds, cpuSeconds } = await measuredWindow(spec, (isMeasuring) => {
    measuring = isMeasuring;
  });
  stopped = true;
  await Promise.all(loops);
  await driver.check?.(benchKey(run.random.below(spec.keyCount)), run.value());
  const ops = latency.total;
  return { seconds, ops, missing, errors: run.errors, latencyUs: latency.data(), cpuSeconds };
}

/** Writes every key of the range exactly once; a failed write is tried again until it is acknowledged. */
export async function runFill(driver: Driver, spec: FillSpec): Promise<FillResult> {
  const run = new Run(spec.seed, spec.valueBytes);
  const stepSeconds: number[] = [];
  let next = spec.from;
  let done = 0;
  const startedAt = performance.now();
  const elapsed = (): number => (performance.now() - startedAt) / 1000;

  async function write(index: number): Promise<void> {
    for (;;) {
      try {
        await driver.put(benchKey(index), run.value());
        return;
      } catch (error) {
        await run.failed(error);
      }
    }
  }
  async function loop(): Promise<void> {
    while (next < spec.to) {
      const index = next;
      next += 1;
      await write(index);
      done += 1;
      if (done % spec.stepKeys === 0) stepSeconds.push(elapsed());
    }
  }
  await Promise.all(Array.from({ length: spec.inFlight }, loop));
  return { seconds: elapsed(), stepSeconds, errors: run.errors };
}

interface Lane {
  readonly keys: Uint8Array[];
  lastAt: number;
  longestGapMs: number;
  acknowledged: number;
}

/** Up to this many keys of each lane are enough to find it and to spread over its store. */
const KEYS_PER_LANE = 1000;

/** Keeps every lane writing and measures, lane by lane, the longest time without an acknowledgement. */
export async function runGap(driver: Driver, spec: GapSpec): Promise<GapResult> {
  const run = new Run(spec.seed, spec.valueBytes);
  const lanes = new Map<string, Lane>();
  for (let index = 0; index < Math.min(spec.keyCount, 20 * KEYS_PER_LANE); index += 1) {
    const key = benchKey(index);
    const name = await driver.laneOf(key);
    const lane = lanes.get(name) ?? { keys: [], lastAt: 0, longestGapMs: 0, acknowledged: 0 };
    lanes.set(name, lane);
    if (lane.keys.length < KEYS_PER_LANE) lane.keys.push(key);
  }
  const endsAt = performance.now() + spec.durationMs;
  const note = (lane: Lane, now: number): void => {
    lane.longestGapMs = Math.max(lane.longestGapMs, now - lane.lastAt);
    lane.lastAt = now;
  };
  async function loop(lane: Lane): Promise<void> {
    while (performance.now() < endsAt) {
      const key = lane.keys[run.random.below(lane.keys.length)] as Uint8Array;
      try {
        await driver.put(key, run.value());
        lane.acknowledged += 1;
        note(lane, performance.now());
      } catch (error) {
        await run.failed(error);
      }
    }
  }
  const loops: Promise<void>[] = [];
  for (const lane of lanes.values()) {
    lane.lastAt = performance.now();
    for (let i = 0; i < spec.inFlightPerLane; i += 1) loops.push(loop(lane));
  }
  await Promise.all(loops);
  for (const lane of lanes.values()) if (lane.lastAt < endsAt) note(lane, endsAt);
  return {
    lanes: Array.from(lanes, ([lane, { longestGapMs, acknowledged }]) => ({
      lane,
      longestGapMs,
      acknowledged,
    })),
    errors: run.errors,
  };
}
