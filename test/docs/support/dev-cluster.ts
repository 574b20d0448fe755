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

async function freeBase(): Promise<number> {
  for (let base = 30_000 + (process.pid % 300) * 30; ; base += 31) {
    const free = await Promise.all(STEPS.map((step) => isFree(base + step)));
    if (free.every((one) => one)) return base;
  }
}

/** What `npm start` runs, on free ports and with data that goes at the end. */
export async function startDevCluster(): Promise<{
  readonly cluster: DevCluster;
  readonly endpoint: string;
}> {
  const clientPort = await freeBase();
  const cluster = new DevCluster({
    members: 3,
    shards: 4,
    dataDir: '',
    clientPort,
    ephemeral: true,
    log: 'local',
    brokers: [],
  });
  await cluster.start(new AbortController().signal);
  return { cluster, endpoint: `127.0.0.1:${clientPort}` };
}
