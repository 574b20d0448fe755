import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Host } from '../host.ts';

/** Connections of one kind: all, or those of one address. Those that have not sent a byte make room for new ones. */
class Admission {
  readonly #max: number;
  /** In the order they came; holds some that have spoken meanwhile. */
  readonly #silent = new Set<Socket>();
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get empty(): boolean {
    return this.#count === 0;
  }

  /** Whether there is room, made where needed by closing the oldest connection that never said anything. */
  hasRoom(): boolean {
    if (this.#count < this.#max) return true;
    for (const socket of this.#silent) {
      this.#silent.delete(socket);
      if (socket.bytesRead > 0 || socket.destroyed) continue;
      socket.destroy();
      return true;
    }
    return false;
  }

  add(socket: Socket): void {
    this.#count += 1;
    this.#silent.add(socket);
  }

  delete(socket: Socket): void {
    this.#count -= 1;
    this.#silent.delete(socket);
  }
}

/**
 * Bounds the connections of the client port, in all and from one address. Half-open ones cannot hold the port: they
 * make room for new ones, and the headers timeout closes them anyway.
 */
export function limitConnections(server: Server, host: Host): void {
  const { connectionsMax, connectionsPerAddressMax } = host.limits;
  const { connections, refusedConnections } = host.metrics;
  const all = new Admission(connectionsMax);
  const byAddress = new Map<string, Admission>();
  // Before anybody takes the connection for a protocol.
  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const own = byAddress.get(address) ?? new Admission(connectionsPerAddressMax);
    if (!own.hasRoom() || !all.hasRoom()) {
      refusedConnections.inc({ reason: own.hasRoom() ? 'total' : 'address' });
      socket.destroy();
      return;
    }
    byAddress.set(address, own);
    all.add(socket);
    own.add(socket);
    connections.inc();
    socket.on('close', () => {
      connections.dec();
      all.delete(socket);
      own.delete(socket);
      if (own.empty) byAddress.delete(address);
    });
  });
}
