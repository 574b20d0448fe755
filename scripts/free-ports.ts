import { createServer, type Server } from 'node:net';

const HOST = '127.0.0.1';
/**
 * Below what the system gives to outgoing connections (Linux: from 32768 on): one of those would take the port of a process that is
 * down for a moment. Development clusters in tests lie below, runs of chaos by hand at 23000 and above.
 */
const FIRST = 24_000;
const LAST = 32_700;

/** Where to look next; each process begins elsewhere. */
let next = FIRST + Math.floor(Math.random() * (LAST - FIRST));

/** Ports of the loopback that nobody listens on at this moment, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const found: number[] = [];
  while (found.length < count) {
    next = next >= LAST ? FIRST : next + 1;
    const port = next;
    if (await isFree(port)) found.push(port);
  }
  return found;
}

export async function isFree(port: number): Promise<boolean> {
  try {
    await close(await listen(port));
    return true;
  } catch {
    return false; // taken: listening is the only way to find out
  }
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, HOST, () => resolve(server));
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
