import { DevCluster } from '@kvorum/server';
import { freeDevPort } from '../../../../scripts/free-ports.ts';

/** What `npm start` runs, on free ports and with data that goes at the end; `endpoint` = the first member's host:port. */
export async function startDevCluster(
  shards: number,
): Promise<{ readonly cluster: DevCluster; readonly endpoint: string }> {
  const clientPort = await freeDevPort(3);
  const cluster = new DevCluster({
    members: 3,
    shards,
    dataDir: '',
    clientPort,
    ephemeral: true,
    log: 'local',
    brokers: [],
  });
  await cluster.start(new AbortController().signal);
  return { cluster, endpoint: `127.0.0.1:${clientPort}` };
}
