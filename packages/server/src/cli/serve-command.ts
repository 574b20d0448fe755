import type { KvError } from '@kvorum/base';
import type { LoadedConfig } from '../config/load.ts';
import { createLogger } from '../logger.ts';
import { type Member, startMember } from '../member/member.ts';
import { findOwnPlace } from '../member/own-place.ts';
import { serverVersion } from '../version.ts';
import { type OpenedLogs, openConfiguredLogs } from './open-logs.ts';
import { runUntilSignal } from './run-until-signal.ts';

/** `kvd`: one member until a signal. Returns the exit code. */
export async function serve(loaded: LoadedConfig): Promise<number> {
  const { config } = loaded;
  const logger = createLogger(config);
  let opened: OpenedLogs | undefined;
  let member: Member | undefined;
  let removed: (error: KvError) => void = () => undefined;
  const failed = new Promise<KvError>((resolve) => {
    removed = resolve;
  });
  return runUntilSignal({
    async start(signal) {
      // Whose directory it is comes before opening anything in it.
      const place = await findOwnPlace(config, logger, signal);
      opened = await openConfiguredLogs(config, place.directory.log, logger);
      member = await startMember({
        config,
        version: serverVersion(),
        logger,
        logs: opened.forMember(),
        logWhere: opened.where,
        ...(opened.openElection === undefined ? {} : { openElection: opened.openElection }),
        signal,
        place,
      });
      void member.expelled.then(removed);
    },
    failed,
    async stop() {
      await member?.stop();
      await opened?.close();
    },
  });
}
