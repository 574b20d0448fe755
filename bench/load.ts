import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Started, Workspace } from './processes.ts';
import { REPO_ROOT } from './repo-root.ts';
import type { DriverSpec } from './worker/driver.ts';
import { Histogram, type HistogramData } from './worker/histogram.ts';
import type {
  FillResult,
  FillSpec,
  GapResult,
  GapSpec,
  LoadResult,
  LoadSpec,
  WorkerAnswer,
  WorkerRequest,
} from './worker/load-spec.ts';

const WORKER = join(REPO_ROOT, 'bench/dist/load-worker.js');

/** One process that makes load, so that its CPU time is its own and the caller's does not disturb it. */
class LoadProcess {
  readonly #child: ReturnType<typeof fork>;
  readonly #workspace: Workspace;
  readonly #started: Started;

  constructor(workspace: Workspace, name: string) {
    workspace.mustBeOpen(name);
    // Compiled code without the parent's loaders: a loader's helpers would be paid for in every operation.
    this.#child = fork(WORKER, [], { execArgv: [], serialization: 'advanced' });
    this.#workspace = workspace;
    this.#started = workspace.track(name, this.#child, '');
  }

  async ask(request: WorkerRequest): Promise<WorkerAnswer> {
    const answered = new Promise<WorkerAnswer>((resolve, reject) => {
      const onMessage = (answer: WorkerAnswer): void => {
        this.#child.off('exit', onExit);
        if (answer.kind === 'failed') reject(new Error(answer.message));
        else resolve(answer);
      };
      const onExit = (): void => {
        this.#child.off('message', onMessage);
        reject(new Error('a load process ended unexpectedly'));
      };
      this.#child.once('message', onMessage);
      this.#child.once('exit', onExit);
    });
    this.#child.send(request);
    return answered;
  }

  async close(): Promise<void> {
    if (this.#child.connected) this.#child.send({ kind: 'close' } satisfies WorkerRequest);
    await Promise.race([this.#started.exited, new Promise((r) => setTimeout(r, 2000))]);
    await this.#workspace.stop(this.#started);
  }
}

/** A load over one or more processes that together keep `inFlight` operations open. */
export class Load {
  readonly #processes: readonly LoadProcess[];

  private constructor(processes: readonly LoadProcess[]) {
    this.#processes = processes;
  }

  /** Starts `processCount` load processes and connects each. Rejects when the system does not answer. */
  static async open(
    workspace: Workspace,
    driver: DriverSpec,
    processCount: number = 1,
  ): Promise<Load> {
    const processes = Array.from(
      { length: processCount },
      (_, i) => new LoadProcess(workspace, `load-${driver.system}-${i}`),
    );
    const load = new Load(processes);
    workspace.onClose(() => load.close());
    await Promise.all(processes.map((each) => each.ask({ kind: 'open', driver })));
    return load;
  }

  async run(spec: LoadSpec): Promise<Measurement> {
    const share = Math.max(1, Math.round(spec.inFlight / this.#processes.length));
    const results = await Promise.all(
      this.#processes.map(async (each, i) => {
        // One process reads the CPU time of the others' groups; more would count it several times.
        const groups = i === 0 ? spec.groups : {};
        const own = { ...spec, inFlight: share, seed: spec.seed + i, groups };
        const answer = await each.ask({ kind: 'load', spec: own });
        if (answer.kind !== 'load') throw new Error(`unexpected answer ${answer.kind}`);
        return answer.result;
      }),
    );
    return measurementOf(results);
  }

  async fill(spec: FillSpec): Promise<FillResult> {
    const answer = await this.#first().ask({ kind: 'fill', spec });
    if (answer.kind !== 'fill') throw new Error(`unexpected answer ${answer.kind}`);
    return answer.result;
  }

  async gap(spec: GapSpec): Promise<GapResult> {
    const answer = await this.#first().ask({ kind: 'gap', spec });
    if (answer.kind !== 'gap') throw new Error(`unexpected answer ${answer.kind}`);
    return answer.result;
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map((each) => each.close()));
  }

  #first(): LoadProcess {
    const [first] = this.#processes;
    if (first === undefined) throw new Error('a load needs at least one process');
    return first;
  }
}

/** What one measured window showed. */
export interface Measurement {
  readonly opsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly ops: number;
  readonly missing: number;
  readonly errors: Readonly<Record<string, number>>;
  /** CPU µs per operation by process group; `client` is the load itself. NaN where it cannot be read. */
  readonly cpuUsPerOp: Readonly<Record<string, number>>;
}

function measurementOf(results: readonly LoadResult[]): Measurement {
  const latency = mergedHistogram(results.map((result) => result.latencyUs));
  const ops = results.reduce((sum, result) => sum + result.ops, 0);
  return {
    opsPerSecond: results.reduce((sum, result) => sum + result.ops / result.seconds, 0),
    p50Us: latency.quantile(0.5),
    p99Us: latency.quantile(0.99),
    p999Us: latency.quantile(0.999),
    ops,
    missing: results.reduce((sum, result) => sum + result.missing, 0),
    errors: sumByName(results.map((result) => result.errors)),
    cpuUsPerOp: perOp(sumByName(results.map((result) => result.cpuSeconds)), ops),
  };
}

function mergedHistogram(parts: readonly HistogramData[]): Histogram {
  const merged = new Histogram();
  for (const part of parts) merged.add(part);
  return merged;
}

function sumByName(parts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries(part)) out[name] = (out[name] ?? 0) + value;
  }
  return out;
}

function perOp(seconds: Readonly<Record<string, number>>, ops: number): Record<string, number> {
  return Object.fromEntries(
    Object.entries(seconds).map(([name, value]) => [
      name,
      ops === 0 ? Number.NaN : (value * 1e6) / ops,
    ]),
  );
}
