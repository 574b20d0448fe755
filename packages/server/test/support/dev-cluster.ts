import { createServer } from 'node:net';
import { DevCluster } from '@kvorum/server';

/** What three development members need above their first port. */
const STEPS = [0, 1, 10, 11, 20, 21];

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** A first client port for three members; test processes that run at once look in different places. */
export async function freeBase(): Promise<number> {
  for (let base = 21_000 + (process.pid % 300) * 30; ; base += 31) {
    const free = await Promise.all(STEPS.map((step) => isFree(base + step)));
    if (free.every((one) => one)) return base;
  }
}

/** What `npm start` runs, on free ports and with data that goes at the end; `endpoint` = the first member's host:port. */
export async function startDevCluster(
  shards: number,
): Promise<{ readonly cluster: DevCluster; readonly endpoint: string }> {
  const clientPort = await freeBase();
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
