import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { InvariantError, type KvError } from '@kvorum/base';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Host } from '../../host.ts';
import { holderOf, SocketMemory } from '../../http/http-memory.ts';
import { isForeignPage, type Upgrade } from '../../http/sessions.ts';
import { type GrpcStatus, statusOf } from '../errors.ts';
import { GRPC_STATUS, GrpcError } from '../grpc-error.ts';
import type { Method, Service } from '../service.ts';
import { type Caller, GatewayCall, type GatewayEnvironment } from './gateway-call.ts';
import { feedFromBody, HttpCaller } from './http-caller.ts';
import { statusBody } from './http-status.ts';
import { ObjectSplitter } from './object-splitter.ts';
import { gatewayPaths } from './paths.ts';
import { SocketCaller } from './socket-caller.ts';

const PING_MS = 20_000;
/** Base64 makes JSON a third larger than the message it carries; the exact limit is the router's. */
const JSON_OVERHEAD_BYTES = 65_536;

const STATUS_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(GRPC_STATUS).map(([name, code]) => [code, name]),
);
const FOREIGN = 'a page of another site may not call this member';

export type GatewayHost = Pick<
  Host,
  'clock' | 'limits' | 'logger' | 'metrics' | 'refusal' | 'clientMemory'
>;

/** etcd's JSON gateway: every method of the services that has a path, over POST and over WebSockets. */
export class Gateway {
  readonly #host: GatewayHost;
  readonly #methods = new Map<string, Method>();
  readonly #bytesMax: number;
  readonly #calls = new Set<GatewayCall>();
  readonly #sockets = new Map<WebSocket, { readonly answers: boolean }>();
  readonly #webSockets: WebSocketServer;
  readonly #pings: NodeJS.Timeout;
  readonly #environment: GatewayEnvironment;

  constructor(host: GatewayHost, services: readonly Service[]) {
    this.#host = host;
    for (const { name, methods } of services) {
      for (const method of methods) {
        const paths = gatewayPaths(`${name}.${method.descriptor.name}`);
        for (const path of paths) this.#methods.set(path, method);
      }
    }
    this.#bytesMax = host.limits.requestBytesMax * 2 + JSON_OVERHEAD_BYTES;
    this.#environment = {
      clock: host.clock,
      bug: (error, method) => this.#bug(error, method),
      ended: (call, status) => this.#ended(call, status),
    };
    this.#webSockets = new WebSocketServer({
      noServer: true,
      maxPayload: this.#bytesMax,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (offered) => (offered.has('Bearer') ? 'Bearer' : false),
    });
    this.#pings = setInterval(() => this.#ping(), PING_MS);
    this.#pings.unref();
  }

  /** The method that a path asks for. */
  method(path: string): Method | undefined {
    return this.#methods.get(path);
  }

  get paths(): Iterable<string> {
    return this.#methods.keys();
  }

  /** True when no unary call waits for its answer; the others have no end of their own. */
  get idle(): boolean {
    for (const { method } of this.#calls) if (method.kind === 'unary') return false;
    return true;
  }

  /** Answers a POST of HTTP/1. */
  serve(method: Method, request: IncomingMessage, response: ServerResponse): void {
    const memory = holderOf(this.#host, request);
    const caller = new HttpCaller(request, response, memory, method.kind === 'bidi_streaming');
    const call = this.#call(method, request, caller);
    if (call === undefined) return;
    response.on('close', () => call.gone());
    feedFromBody(call, request, this.#bytesMax);
    call.start();
  }

  /** Who takes a WebSocket of this path; its page has been looked at then. */
  upgradeOf(path: string): Upgrade | undefined {
    const method = this.#methods.get(path);
    if (method === undefined) return undefined;
    return (request, socket, head) => this.#upgrade(method, request, socket, head);
  }

  #upgrade(method: Method, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#webSockets.handleUpgrade(request, socket, head, (ws) => {
      const memory = new SocketMemory(this.#host, ws, request.socket, () => ws.terminate());
      const call = this.#call(method, request, new SocketCaller(request, ws, memory));
      this.#sockets.set(ws, { answers: true });
      ws.on('pong', () => this.#sockets.set(ws, { answers: true }));
      ws.on('error', () => ws.terminate());
      ws.on('close', () => {
        this.#sockets.delete(ws);
        call?.gone();
      });
      if (call === undefined) return;
      const splitter = new ObjectSplitter(this.#bytesMax);
      ws.on('message', (data: Buffer) => {
        try {
          for (const object of splitter.push(data)) call.request(object);
        } catch (error) {
          call.fail(error);
        }
      });
      call.start();
    });
  }

  /** Ends the calls that stream; the others may finish. */
  stop(error: KvError): void {
    clearInterval(this.#pings);
    for (const call of this.#calls) if (call.method.kind !== 'unary') call.fail(error);
  }

  /** Cuts every WebSocket; the other connections are the server's. */
  terminate(): void {
    clearInterval(this.#pings);
    for (const ws of this.#sockets.keys()) ws.terminate();
  }

  #call(method: Method, request: IncomingMessage, caller: Caller): GatewayCall | undefined {
    try {
      if (isForeignPage(request)) throw new GrpcError('PERMISSION_DENIED', FOREIGN);
      const refusal = this.#host.refusal();
      if (refusal !== undefined) throw refusal;
      const call = new GatewayCall(this.#environment, method, caller);
      this.#calls.add(call);
      return call;
    } catch (error) {
      const status = statusOf(error) ?? this.#bug(error, method);
      this.#count(method, status);
      caller.end(status, statusBody(status));
      return undefined;
    }
  }

  #ended(call: GatewayCall, status: GrpcStatus | undefined): void {
    this.#calls.delete(call);
    this.#count(call.method, status);
  }

  #count({ descriptor }: Method, status: GrpcStatus | undefined): void {
    const code = STATUS_NAMES.get(status?.code ?? GRPC_STATUS.CANCELLED) ?? 'UNKNOWN';
    this.#host.metrics.requests.count('gateway', descriptor.name, code);
  }

  /** Who has not answered the last ping is gone. */
  #ping(): void {
    for (const [ws, { answers }] of this.#sockets) {
      if (!answers) {
        ws.terminate();
        continue;
      }
      this.#sockets.set(ws, { answers: false });
      ws.ping();
    }
  }

  /** A bug stops the process: halting beats going on with a broken invariant. */
  #bug(error: unknown, { descriptor }: Method): GrpcStatus {
    this.#host.logger.error({ err: error, method: descriptor.name }, 'request failed on a bug');
    if (error instanceof InvariantError) {
      setImmediate(() => {
        throw error;
      });
    }
    return { code: GRPC_STATUS.INTERNAL, message: 'internal error' };
  }
}
