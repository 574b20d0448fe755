import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** Ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listening = once(server.listen(port, '127.0.0.1'), 'listening').then(
    () => true,
    () => false,
  );
  if (!(await listening)) return false;
  await once(server.close(), 'close');
  return true;
}

/** The first client port for `kvd dev` with so many members: member i takes port + 10·i and the one above. */
export async function freeDevPort(members: number): Promise<number> {
  for (;;) {
    // Below the range that the system hands out by itself, which another test may be using.
    const first = 12_000 + Math.floor(Math.random() * 8000);
    const wanted = Array.from({ length: members }, (_, i) => [first + 10 * i, first + 10 * i + 1]);
    const free = await Promise.all(wanted.flat().map(isFree));
    if (free.every(Boolean)) return first;
  }
}

/** First digits of ports for `members` members: member i listens at `<digits>i1` and `<digits>i2`. */
export async function freePortDigits(members: number): Promise<string> {
  for (;;) {
    const digits = 120 + Math.floor(Math.random() * 80);
    const wanted = Array.from({ length: members }, (_, i) =>
      [1, 2].map((n) => 100 * digits + 10 * (i + 1) + n),
    );
    const free = await Promise.all(wanted.flat().map(isFree));
    if (free.every(Boolean)) return String(digits);
  }
}
