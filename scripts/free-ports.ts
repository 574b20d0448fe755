import { createServer, type Server } from 'node:net';

const HOST = '127.0.0.1';
/**
 * Below what the system gives to outgoing connections (Linux: from 32768 on): one of those would take the port of a process that is
 * down for a moment. Development clusters in tests lie below, runs of chaos by hand at 23000 and above.
 */
const FIRST = 24_000;
const LAST = 32_700;

/** For development clusters: below all others. */
const DEV_FIRST = 14_000;
const DEV_LAST = 20_000;
/** From one member of a development cluster to the next; it takes two ports. */
const DEV_STEP = 10;

/**
 * Number of the test runner's worker, from 1 on, in that worker and what it starts; elsewhere 0. Files that run at once are given
 * different ports by it: else one could take a port while the process that another keeps it for is not there yet, or down.
 */
const WORKER = Number(process.env['VITEST_POOL_ID'] ?? 0);
/** A port modulo this is the worker's. */
const WORKERS_MAX = 20;
const DEV_WORKERS_MAX = DEV_STEP / 2;

/** Where to look next; each process begins elsewhere. */
let next = somewhere(FIRST, LAST, WORKERS_MAX) + (WORKER % WORKERS_MAX);

/** Ports of the loopback that nobody listens on at this moment, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const found: number[] = [];
  while (found.length < count) {
    next += WORKERS_MAX;
    if (next > LAST) next = FIRST + (WORKER % WORKERS_MAX);
    const port = next;
    if (await isFree(port)) found.push(port);
  }
  return found;
}

/** The first client port for `kvd dev` with so many members: member i takes port + 10·i and the one above. */
export async function freeDevPort(members: number): Promise<number> {
  for (;;) {
    const first = somewhere(DEV_FIRST, DEV_LAST, DEV_STEP) + 2 * (WORKER % DEV_WORKERS_MAX);
    const wanted = Array.from({ length: members }, (_, i) => first + DEV_STEP * i);
    const free = await Promise.all(wanted.flatMap((port) => [isFree(port), isFree(port + 1)]));
    if (free.every(Boolean)) return first;
  }
}

export async function isFree(port: number): Promise<boolean> {
  try {
    await close(await listen(port));
    return true;
  } catch {
    return false; // taken: listening is the only way to find out
  }
}

/** `first`, or any number of steps above it and below `last`. */
function somewhere(first: number, last: number, step: number): number {
  return first + step * Math.floor((Math.random() * (last - first)) / step);
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
