import { EXIT, reportFatal } from './exit.ts';

/** What runs until a signal. `start` gets a signal that ends the start early. */
export interface Service {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Resolves when it ends by itself, with why. */
  readonly failed?: Promise<Error>;
}

/**
 * Runs a service until SIGTERM or SIGINT, then stops it cleanly; a second signal ends the process at once. Returns the exit
 * code; a failed start is told on stderr.
 */
export async function runUntilSignal(service: Service): Promise<number> {
  const abort = new AbortController();
  const signalled = new Promise<void>((resolve) => {
    let count = 0;
    const onSignal = (name: NodeJS.Signals): void => {
      count += 1;
      if (count > 1) {
        process.stderr.write(`kvd: second ${name}: leaving at once\n`);
        process.exit(EXIT.failed);
      }
      process.stderr.write(`kvd: ${name}: stopping (again to force)\n`);
      abort.abort();
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
  try {
    await service.start(abort.signal);
  } catch (error) {
    await service.stop();
    return reportFatal(error, process.stderr);
  }
  const failure = await Promise.race([signalled, service.failed ?? signalled]);
  await service.stop();
  return failure === undefined ? EXIT.ok : reportFatal(failure, process.stderr);
}
