import { once } from 'node:events';
import {
  type AddressInfo,
  createServer,
  connect as dial,
  type Server,
  type Socket,
} from 'node:net';

const HOST = '127.0.0.1';
/** Held back per lane; beyond it the sender is no longer read, as a full TCP window would. */
const HELD_BYTES_MAX = 1024 * 1024;

/** `forth` = from whoever dialled to the target. */
export type Direction = 'forth' | 'back';

export interface Delay {
  readonly ms: number;
  /** Added to `ms`, anew for every chunk: 0 to this. */
  readonly jitterMs: number;
}

/** A TCP forwarder on 127.0.0.1 that can hold, delay and reset what goes through it. Order within a connection is kept. */
export class TcpProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #cut = new Set<Direction>();
  #target: number;
  #delay: Delay | undefined;

  private constructor(server: Server, port: number, target: number) {
    this.#server = server;
    this.port = port;
    this.#target = target;
    server.on('connection', (socket) => this.#accept(socket));
  }

  /** `port` 0 = a free one. */
  static async listen(port: number, target = 0): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen(port, HOST);
    await once(server, 'listening');
    return new TcpProxy(server, (server.address() as AddressInfo).port, target);
  }

  set target(port: number) {
    this.#target = port;
  }

  /** Bytes of these directions, and the ends of connections, stay here until `heal`: packets that get lost, and are sent again. */
  cut(directions: readonly Direction[]): void {
    for (const direction of directions) this.#cut.add(direction);
  }

  delay(delay: Delay): void {
    this.#delay = delay;
  }

  /** Ends every connection with RST. */
  reset(): void {
    for (const pair of [...this.#pairs]) pair.reset();
  }

  heal(): void {
    this.#cut.clear();
    this.#delay = undefined;
    for (const pair of [...this.#pairs]) pair.flush();
  }

  async close(): Promise<void> {
    this.reset();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #accept(client: Socket): void {
    const target = dial({ port: this.#target, host: HOST, allowHalfOpen: true, noDelay: true });
    const policy: Policy = {
      isCut: (direction) => this.#cut.has(direction),
      delay: () => this.#delay,
    };
    const pair = new Pair(client, target, policy, () => this.#pairs.delete(pair));
    this.#pairs.add(pair);
  }
}

interface Policy {
  readonly isCut: (direction: Direction) => boolean;
  readonly delay: () => Delay | undefined;
}

/** One forwarded connection. */
class Pair {
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #lanes: readonly Lane[];
  readonly #onGone: () => void;

  constructor(client: Socket, target: Socket, policy: Policy, onGone: () => void) {
    this.#client = client;
    this.#target = target;
    this.#onGone = onGone;
    const forth = new Lane(client, target, 'forth', policy);
    const back = new Lane(target, client, 'back', policy);
    this.#lanes = [forth, back];
    for (const socket of [client, target]) {
      socket.on('error', () => undefined);
      socket.on('close', () => this.#forget());
    }
  }

  flush(): void {
    for (const lane of this.#lanes) lane.pump();
  }

  reset(): void {
    for (const lane of this.#lanes) lane.drop();
    this.#client.resetAndDestroy();
    this.#target.resetAndDestroy();
  }

  #forget(): void {
    if (this.#client.closed && this.#target.closed) this.#onGone();
  }
}

/** One direction of a connection: chunks wait here until they are due, and for as long as the direction is cut. */
class Lane {
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #direction: Direction;
  readonly #policy: Policy;
  readonly #queue: { readonly chunk: Buffer; readonly dueMs: number }[] = [];
  #bytes = 0;
  #lastDueMs = 0;
  #end: 'none' | 'ended' | 'broken' = 'none';
  #timer: NodeJS.Timeout | undefined;

  constructor(source: Socket, sink: Socket, direction: Direction, policy: Policy) {
    this.#source = source;
    this.#sink = sink;
    this.#direction = direction;
    this.#policy = policy;
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.on('end', () => this.#finish('ended'));
    source.on('close', (hadError) => this.#finish(hadError ? 'broken' : 'ended'));
    sink.on('drain', () => this.pump());
  }

  /** Passes on whatever is due. */
  pump(): void {
    if (this.#policy.isCut(this.#direction)) return;
    while (this.#queue.length > 0 && !this.#sink.writableNeedDrain) {
      const waitMs = (this.#queue[0]?.dueMs ?? 0) - performance.now();
      if (waitMs > 0) {
        this.#later(waitMs);
        return;
      }
      this.#passOn();
    }
    if (this.#bytes < HELD_BYTES_MAX) this.#source.resume();
    if (this.#queue.length > 0) return;
    if (this.#end === 'ended') this.#sink.end();
    if (this.#end === 'broken') this.#sink.resetAndDestroy();
  }

  #passOn(): void {
    const chunk = this.#queue.shift()?.chunk;
    if (chunk === undefined) return;
    this.#bytes -= chunk.length;
    this.#sink.write(chunk);
  }

  drop(): void {
    clearTimeout(this.#timer);
    this.#queue.length = 0;
    this.#bytes = 0;
  }

  #take(chunk: Buffer): void {
    const delay = this.#policy.delay();
    const waitMs = delay === undefined ? 0 : delay.ms + Math.random() * delay.jitterMs;
    this.#lastDueMs = Math.max(this.#lastDueMs, performance.now() + waitMs);
    this.#queue.push({ chunk, dueMs: this.#lastDueMs });
    this.#bytes += chunk.length;
    if (this.#bytes >= HELD_BYTES_MAX) this.#source.pause();
    this.pump();
  }

  #finish(how: 'ended' | 'broken'): void {
    if (this.#end !== 'broken') this.#end = how;
    this.pump();
  }

  #later(waitMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.pump(), Math.ceil(waitMs));
  }
}
