import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalLogs } from '@kvorum/log-local';
import type { SharedLogs } from '@kvorum/ports';
import { createLogger, loadConfig, type Member, startMember } from '@kvorum/server';

export interface OneMember {
  readonly member: Member;
  /** http://host:port of its client port. */
  readonly url: string;
  /** Everything it has logged. */
  readonly log: string[];
  stop(): Promise<void>;
}

export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'kvorum-server-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/**
 * A real member alone, on the embedded log in `directory`; every port is free. `values` are configuration paths; `wrap` puts
 * something between the member and its logs.
 */
export async function startOneMember(
  directory: string,
  values: Readonly<Record<string, unknown>> = {},
  wrap: (logs: SharedLogs) => SharedLogs = (logs) => logs,
): Promise<OneMember> {
  const { config } = loadConfig({
    environment: {},
    flags: {},
    fixed: {
      dataDir: join(directory, 'm1'),
      listenClient: '127.0.0.1:0',
      listenPeer: '127.0.0.1:0',
      shards: 2,
      logLevel: 'debug',
      // A lone member is elected at once; these only bound its first campaign.
      'limits.heartbeatMs': 20,
      'limits.electionMsMin': 60,
      'limits.electionMsMax': 120,
      ...values,
    },
  });
  const log: string[] = [];
  const logDirectory = join(directory, 'log');
  mkdirSync(logDirectory, { recursive: true });
  const logs = await openLocalLogs({ directory: logDirectory });
  try {
    const member = await startMember({
      config,
      version: '0.0.0-test',
      logger: createLogger(config, { write: (line: string) => log.push(line) }),
      logs: wrap(logs.forMember()),
      logWhere: logDirectory,
      signal: new AbortController().signal,
    });
    await untilReady(member);
    return {
      member,
      url: `http://${member.clientAddress}`,
      log,
      async stop() {
        await member.stop();
        await logs.close();
      },
    };
  } catch (error) {
    await logs.close();
    throw error;
  }
}

async function untilReady(member: Member): Promise<void> {
  while (!member.host.readiness().every((check) => check.ok)) {
    await new Promise((resolve) => {
      member.host.onTopologyChange(() => resolve(undefined));
      setTimeout(resolve, 20);
    });
  }
}
