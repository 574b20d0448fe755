/** A load process: opens one driver and runs what its parent asks for, one request at a time. */
import { runFill, runGap, runLoad } from './closed-loop.ts';
import type { Driver, DriverSpec } from './driver.ts';
import { openGrpc } from './grpc-driver.ts';
import { openKafka } from './kafka-driver.ts';
import type { WorkerAnswer, WorkerRequest } from './load-spec.ts';
import { runStreams } from './stream-load.ts';

async function open(spec: DriverSpec): Promise<Driver> {
  switch (spec.system) {
    case 'grpc':
      return openGrpc(spec.endpoints, spec.connectionsPerMember);
    case 'kafka':
      return openKafka(spec.brokers, spec.topic);
    case 'kvorum': {
      // Loaded on demand: the other systems can be measured while the SDK does not build.
      const { openKvorum } = await import('./kvorum-driver.ts');
      return openKvorum(spec.endpoints);
    }
  }
}

let driver: Driver | undefined;

function opened(): Driver {
  if (driver === undefined)
    throw new Error('the load process was asked to run before it was opened');
  return driver;
}

async function answer(request: WorkerRequest): Promise<WorkerAnswer | undefined> {
  switch (request.kind) {
    case 'open':
      driver = await open(request.driver);
      return { kind: 'opened' };
    case 'load':
      return { kind: 'load', result: await runLoad(opened(), request.spec) };
    case 'streams':
      return { kind: 'load', result: await runStreams(opened().connections ?? [], request.spec) };
    case 'fill':
      return { kind: 'fill', result: await runFill(opened(), request.spec) };
    case 'gap':
      return { kind: 'gap', result: await runGap(opened(), request.spec) };
    case 'close':
      await driver?.close();
      process.disconnect();
      return undefined;
  }
}

process.on('message', (request: WorkerRequest) => {
  answer(request).then(
    (message) => {
      if (message !== undefined) process.send?.(message);
    },
    (error: unknown) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      process.send?.({ kind: 'failed', message: text } satisfies WorkerAnswer);
    },
  );
});
// The parent is gone (or said close): never stay behind as a stray load.
process.on('disconnect', () => process.exit(0));
