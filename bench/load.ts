import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Started, Workspace } from './processes.ts';
import { REPO_ROOT } from './repo-root.ts';
import type { DriverSpec } from './worker/driver.ts';
import { Histogram } from './worker/histogram.ts';
import type {
  FillResult,
  FillSpec,
  GapResult,
  GapSpec,
  LoadResult,
  LoadSpec,
  StreamSpec,
  WorkerAnswer,
  WorkerRequest,
} from './worker/load-spec.ts';

const WORKER = join(REPO_ROOT, 'bench/dist/load-worker.js');
/** Enough to write a profile; one that hangs is stopped then. */
const CLOSE_TIMEOUT_MS = 8000;
/**
 * With thousands of operations open, V8's default young generation (16 MiB) is half full of live ones whenever it is
 * collected, and copying them was a third of a load process's time: time the systems under test did not get.
 */
const NODE_ARGS: readonly string[] = ['--max-semi-space-size=64'];

/** A load process with its driver connected: its CPU time is its own, and the caller's does not disturb it. */
export class Load {
  readonly #child: ReturnType<typeof fork>;
  readonly #workspace: Workspace;
  readonly #started: Started;

  private constructor(workspace: Workspace, name: string, nodeArgs: readonly string[]) {
    workspace.mustBeOpen(name);
    // Compiled code without the parent's loaders: a loader's helpers would be paid for in every operation.
    this.#child = fork(WORKER, [], {
      execArgv: [...NODE_ARGS, ...nodeArgs],
      serialization: 'advanced',
    });
    this.#workspace = workspace;
    this.#started = workspace.track(name, this.#child, '');
  }

  /** Starts a load process and connects it. Rejects when the system does not answer. */
  static async open(
    workspace: Workspace,
    driver: DriverSpec,
    nodeArgs: readonly string[] = [],
  ): Promise<Load> {
    const load = new Load(workspace, `load-${driver.system}`, nodeArgs);
    workspace.onClose(() => load.close());
    await load.#ask({ kind: 'open', driver });
    return load;
  }

  async run(spec: LoadSpec): Promise<Measurement> {
    const answer = await this.#ask({ kind: 'load', spec });
    if (answer.kind !== 'load') throw new Error(`unexpected answer ${answer.kind}`);
    return measurementOf(answer.result);
  }

  async streams(spec: StreamSpec): Promise<Measurement> {
    const answer = await this.#ask({ kind: 'streams', spec });
    if (answer.kind !== 'load') throw new Error(`unexpected answer ${answer.kind}`);
    return measurementOf(answer.result);
  }

  async fill(spec: FillSpec): Promise<FillResult> {
    const answer = await this.#ask({ kind: 'fill', spec });
    if (answer.kind !== 'fill') throw new Error(`unexpected answer ${answer.kind}`);
    return answer.result;
  }

  async gap(spec: GapSpec): Promise<GapResult> {
    const answer = await this.#ask({ kind: 'gap', spec });
    if (answer.kind !== 'gap') throw new Error(`unexpected answer ${answer.kind}`);
    return answer.result;
  }

  async close(): Promise<void> {
    if (this.#child.connected) this.#child.send({ kind: 'close' } satisfies WorkerRequest);
    const tooLong = new Promise((resolve) => {
      setTimeout(resolve, CLOSE_TIMEOUT_MS).unref();
    });
    await Promise.race([this.#started.exited, tooLong]);
    await this.#workspace.stop(this.#started);
  }

  async #ask(request: WorkerRequest): Promise<WorkerAnswer> {
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
  /** CPU µs per operation by process group, with `client` (the load), `others` and `idle`. NaN where it cannot be read. */
  readonly cpuUsPerOp: Readonly<Record<string, number>>;
}

function measurementOf(result: LoadResult): Measurement {
  const { ops, seconds, missing, errors, cpuSeconds } = result;
  const latency = Histogram.from(result.latencyUs);
  const perOp = Object.entries(cpuSeconds).map(
    ([name, value]) => [name, ops === 0 ? Number.NaN : (value * 1e6) / ops] as const,
  );
  return {
    opsPerSecond: ops / seconds,
    p50Us: latency.quantile(0.5),
    p99Us: latency.quantile(0.99),
    p999Us: latency.quantile(0.999),
    ops,
    missing,
    errors,
    cpuUsPerOp: Object.fromEntries(perOp),
  };
}
