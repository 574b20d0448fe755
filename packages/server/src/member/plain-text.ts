import { isLoopback } from '../config/address.ts';
import type { KvdConfig } from '../config/schema.ts';
import type { Logger } from '../logger.ts';

/** Who listens beyond this machine is told at each start, unless the configuration says that it is meant so. */
export function warnOfPlainText(
  { insecure, listenClient }: Pick<KvdConfig, 'insecure' | 'listenClient'>,
  logger: Logger,
): void {
  if (insecure || isLoopback(listenClient)) return;
  logger.warn(
    { listenClient },
    'INSECURE: clients are served in plain text beyond this machine, without log-in unless it is enabled',
  );
}
