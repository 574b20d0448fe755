import { fork } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { KvError } from '@kvorum/base';
import type { CampaignOptions } from './options.ts';
import type { RunResult } from './run-seed.ts';
import type { SeedRange, SeedReport, WorkerMessage } from './seed-worker.ts';

/** Seeds handed to a worker at a time: few, so that none is left with a long rest at the end. */
const RANGE = 10;
const TTY_MS = 500;
const PIPE_MS = 60_000;
const MINUTE_MS = 60_000;

/**
 * What makes a worker faster, by a tenth of its time each. Whole clusters come and go with every seed: a large young generation (MB) is
 * collected less often. The code is compiled when it has shown what it needs, not again and again. Nearly all errors are answers that say no:
 * nobody reads their stacks, and a seed that fails shows them when it is run alone.
 */
const WORKER_FLAGS = [
  '--max-semi-space-size=64',
  '--interrupt-budget=1000000',
  '--stack-trace-limit=0',
];

const HERE = fileURLToPath(import.meta.url);
const WORKER = HERE.replace(/campaign(\.[jt]s)$/, 'seed-worker$1');

/** Sums over all seeds of a campaign. */
interface Totals {
  readonly done: number;
  readonly failed: readonly number[];
}

/** Hands out seeds, counts and reports. */
class Campaign {
  readonly #options: CampaignOptions;
  readonly #startedMs = performance.now();
  readonly #startCpu = process.cpuUsage();
  /** Processor time of worker processes so far, by process. */
  readonly #workerCpuMs = new Map<number | undefined, number>();
  readonly #counts = { op: 0, ok: 0, unknown: 0, revision: 0, fenced: 0 };
  readonly #failed: number[] = [];
  #next: number;
  #done = 0;
  #repeated = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#next = options.from;
  }

  get totals(): Totals {
    return { done: this.#done, failed: this.#failed };
  }

  /** The next seeds to run; undefined once there are none, or no time. */
  take(): SeedRange | undefined {
    const { from, minutes, seeds } = this.#options;
    const left = seeds === undefined ? RANGE : from + seeds - this.#next;
    const late = minutes !== undefined && this.#elapsedMs() >= minutes * MINUTE_MS;
    if (left <= 0 || late) return undefined;
    const range = { from: this.#next, count: Math.min(RANGE, left) };
    this.#next += range.count;
    return range;
  }

  report({ result, again }: SeedReport): void {
    this.#done += 1;
    this.#counts.op += result.opCount;
    this.#counts.ok += result.okCount;
    this.#counts.unknown += result.unknownCount;
    this.#counts.revision += result.revisionCount;
    this.#counts.fenced += result.fencedCount;
    if (again !== undefined) this.#repeated += 1;
    const changed = again !== undefined && again !== result.traceDigest;
    if (changed) {
      clearLine();
      console.log(`seed ${result.seed}: NOT DETERMINISTIC: two runs left different traces`);
    }
    if (result.problems.length > 0) {
      clearLine();
      printResult(result);
    }
    if (changed || result.problems.length > 0) this.#failed.push(result.seed);
  }

  usedCpu(worker: number | undefined, cpuMs: number): void {
    this.#workerCpuMs.set(worker, cpuMs);
  }

  progress(): string {
    const of = this.#options.seeds === undefined ? '' : ` of ${this.#options.seeds}`;
    const rate = Math.round(this.#done / (this.#elapsedMs() / MINUTE_MS));
    return `${this.#done}${of} seeds, ${this.#failed.length} failed, ${rate} a minute`;
  }

  summary(): string {
    const { from, workers } = this.#options;
    const { system, user } = process.cpuUsage(this.#startCpu);
    const workerMs = [...this.#workerCpuMs.values()].reduce((sum, ms) => sum + ms, 0);
    const coreMinutes = ((system + user) / 1000 + workerMs) / MINUTE_MS;
    const perCore = Math.round((this.#done + this.#repeated) / coreMinutes);
    const counts = Object.entries(this.#counts).map(([name, n]) => `${name} ${n}`);
    const failed = this.#failed.length === 0 ? '' : ` (${this.#failed.slice(0, 20).join(', ')})`;
    const seconds = (this.#elapsedMs() / 1000).toFixed(1);
    return [
      `${this.#done} seeds from ${from}, ${this.#failed.length} failed${failed}`,
      `${seconds} s on ${workers} ${workers === 1 ? 'process' : 'processes'}`,
      `${perCore} seeds/min/core, ${this.#repeated} of them run twice`,
      counts.join(', '),
    ].join('; ');
  }

  #elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }
}

/** Runs many seeds; prints what fails, how far it is and a summary. */
export async function runCampaign(options: CampaignOptions): Promise<Totals> {
  const campaign = new Campaign(options);
  const tty = process.stdout.isTTY === true;
  const show = (): void => {
    if (tty) process.stdout.write(`\r\u001b[2K${campaign.progress()}`);
    else console.log(campaign.progress());
  };
  const timer = setInterval(show, tty ? TTY_MS : PIPE_MS);
  try {
    await Promise.all(Array.from({ length: options.workers }, () => runProcess(campaign)));
  } finally {
    clearInterval(timer);
    clearLine();
  }
  console.log(campaign.summary());
  return campaign.totals;
}

/** In a process of its own, started as this one was. */
function runProcess(campaign: Campaign): Promise<void> {
  const execArgv = [...process.execArgv, ...WORKER_FLAGS];
  const worker = fork(WORKER, { serialization: 'advanced', execArgv });
  return new Promise((resolve, reject) => {
    const next = (): void => {
      const range = campaign.take();
      if (range === undefined) worker.disconnect();
      else worker.send(range);
    };
    worker.on('error', reject);
    worker.on('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new KvError('KV_UNAVAILABLE', `a worker process ended with ${signal ?? code}`));
    });
    worker.on('message', (message: WorkerMessage) => {
      if ('result' in message) {
        campaign.report(message);
        return;
      }
      campaign.usedCpu(worker.pid, message.cpuMs);
      next();
    });
    next();
  });
}

function clearLine(): void {
  if (process.stdout.isTTY === true) process.stdout.write('\r\u001b[2K');
}

/** One seed: its verdict, what is wrong, what it drew and how to see it again. */
export function printResult(result: RunResult): void {
  const { problems, seed, swarm, traceDigest, ...counts } = result;
  const verdict = problems.length === 0 ? 'ok' : 'FAILED';
  console.log(`seed ${seed}: ${verdict}, trace ${traceDigest}, ${JSON.stringify(counts)}`);
  for (const { invariant, text } of problems) console.log(`  [${invariant}] ${text}`);
  console.log(`  options ${JSON.stringify(swarm)}`);
  if (problems.length > 0) console.log(`  replay: npm run sim -- --seed ${seed} --trace`);
}
