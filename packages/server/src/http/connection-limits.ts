import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Host } from '../host.ts';

/**
 * Bounds the connections of the client port, in all and from one address. One that sends nothing is closed by the
 * headers timeout, so half-open ones cannot hold the port.
 */
export function limitConnections(server: Server, host: Host): void {
  const { connectionsMax, connectionsPerAddressMax } = host.limits;
  const { connections, refusedConnections } = host.metrics;
  const byAddress = new Map<string, number>();
  server.maxConnections = connectionsMax;
  server.on('drop', () => refusedConnections.inc({ reason: 'total' }));
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = (byAddress.get(address) ?? 0) + 1;
    if (count > connectionsPerAddressMax) {
      refusedConnections.inc({ reason: 'address' });
      socket.destroy();
      return;
    }
    byAddress.set(address, count);
    connections.inc();
    socket.on('close', () => {
      connections.dec();
      const left = (byAddress.get(address) ?? 1) - 1;
      if (left <= 0) byAddress.delete(address);
      else byAddress.set(address, left);
    });
  });
}
