import type { LoadedConfig } from '../config/load.ts';
import { createLogger } from '../logger.ts';
import { openMemberDirectory } from '../member/data-directory.ts';
import { type Member, startMember } from '../member/member.ts';
import { systemRng } from '../member/system.ts';
import { serverVersion } from '../version.ts';
import { type OpenedLogs, openConfiguredLogs } from './open-logs.ts';
import { runUntilSignal } from './run-until-signal.ts';

/** `kvd`: one member until a signal. Returns the exit code. */
export async function serve(loaded: LoadedConfig): Promise<number> {
  const { config } = loaded;
  const logger = createLogger(config);
  let opened: OpenedLogs | undefined;
  let member: Member | undefined;
  return runUntilSignal({
    async start(signal) {
      // Whose directory it is comes before opening anything in it.
      const directory = openMemberDirectory(config, systemRng);
      opened = await openConfiguredLogs(config, directory.log, logger);
      member = await startMember({
        config,
        version: serverVersion(),
        logger,
        logs: opened.forMember(),
        logWhere: opened.where,
        ...(opened.openElection === undefined ? {} : { openElection: opened.openElection }),
        signal,
      });
    },
    async stop() {
      await member?.stop();
      await opened?.close();
    },
  });
}
