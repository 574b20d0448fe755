import process from 'node:process';
import { type RunResult, runSeed } from './run-seed.ts';

/** A piece of a campaign: `count` seeds from `from` on. */
export interface SeedRange {
  readonly from: number;
  readonly count: number;
}

/** What a worker tells of one seed. */
export interface SeedReport {
  readonly result: RunResult;
  /** Digest of a second run of the same seed, where there was one. */
  readonly again: string | undefined;
}

/** One in so many seeds runs twice: the digests of its traces must agree. */
const TWICE_EVERY = 50;

/** One in so many is judged by the checkers of recorded histories as well: they cost as much as the run. */
const CROSS_CHECK_EVERY = 10;

async function runReported(seed: number): Promise<SeedReport> {
  const result = await runSeed(seed, { crossCheck: seed % CROSS_CHECK_EVERY === 0 });
  const again = seed % TWICE_EVERY === 0 ? (await runSeed(seed)).traceDigest : undefined;
  return { result, again };
}

/** What a worker process says: one report a seed, then `done` with the processor time it has used so far. */
export type WorkerMessage = SeedReport | { readonly done: true; readonly cpuMs: number };

function say(message: WorkerMessage): void {
  process.send?.(message);
}

/** In a worker process: takes ranges until it is told no more. */
if (process.argv[1] === import.meta.filename) {
  process.on('message', ({ from, count }: SeedRange) => {
    void (async () => {
      for (let seed = from; seed < from + count; seed += 1) say(await runReported(seed));
      const { system, user } = process.cpuUsage();
      say({ done: true, cpuMs: (system + user) / 1000 });
    })();
  });
}
