import { fanOut } from './fan-out.ts';
import type { GrpcConnection } from './grpc-connection.ts';
import { keepAlives } from './keep-alives.ts';
import type { LoadResult, StreamSpec } from './load-spec.ts';
import { measuredWindow } from './measured-window.ts';
import { StreamRun, type StreamWork } from './stream-run.ts';

const WORK: Readonly<Record<StreamSpec['op'], StreamWork>> = {
  'keep-alive': keepAlives,
  watch: fanOut,
};

/** One window of a load on streams that stay open. Rejects when a stream ends or says something wrong. */
export async function runStreams(
  connections: readonly GrpcConnection[],
  spec: StreamSpec,
): Promise<LoadResult> {
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const run = new StreamRun(fail);
  const work = async (): Promise<LoadResult> => {
    const end = await WORK[spec.op](connections, spec, run);
    const window = await measuredWindow(spec, (isMeasuring) => {
      run.measuring = isMeasuring;
    });
    run.stopped = true;
    await end();
    const { latency } = run;
    return { ...window, ops: latency.total, missing: 0, errors: {}, latencyUs: latency.data() };
  };
  return Promise.race([work(), failed]);
}
