import type { GrpcConnection } from './grpc-connection.ts';
import { Histogram } from './histogram.ts';
import type { StreamSpec } from './load-spec.ts';

/** What happens on the streams of a load; counted while `measuring`. */
export class StreamRun {
  readonly latency: Histogram = new Histogram();
  readonly #failed: (error: Error) => void;
  measuring = false;
  stopped = false;

  constructor(failed: (error: Error) => void) {
    this.#failed = failed;
  }

  /** One thing done, which began at `startedAt` on the clock of `performance`. */
  done(now: number, startedAt: number): void {
    if (this.measuring) this.latency.record((now - startedAt) * 1000);
  }

  /** Ends the window: an answer that is not what it must be is no result. */
  fail(error: unknown): void {
    if (!this.stopped) this.#failed(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Starts what a load does; resolves, when all its streams are open, to what ends it. */
export type StreamWork = (
  connections: readonly GrpcConnection[],
  spec: StreamSpec,
  run: StreamRun,
) => Promise<() => Promise<void>>;

/** The connection of the stream with this number. */
export function connectionOf(
  connections: readonly GrpcConnection[],
  index: number,
): GrpcConnection {
  const connection = connections[index % connections.length];
  if (connection === undefined) throw new Error('this load needs connections of gRPC');
  return connection;
}
