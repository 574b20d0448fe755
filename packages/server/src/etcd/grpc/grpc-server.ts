import type { Duplex } from 'node:stream';
import { InvariantError, KvError } from '@kvorum/base';
import type { Host } from '../../host.ts';
import type { ConnectionOptions } from '../../http2/connection-options.ts';
import { ERROR } from '../../http2/frames.ts';
import { Http2Connection } from '../../http2/http2-connection.ts';
import type { Http2Stream } from '../../http2/http2-stream.ts';
import { type GrpcStatus, statusOf } from '../errors.ts';
import { GRPC_STATUS } from '../grpc-error.ts';
import type { Service } from '../service.ts';
import { commonNameOf } from './common-name.ts';
import { type CallEnvironment, COMMON_HEADERS, GrpcCall, refuse } from './grpc-call.ts';
import { parseTimeout } from './headers.ts';
import { headOf } from './request-head.ts';
import { problemOf, unknownMethod } from './request-problem.ts';
import { type ServedMethod, servedMethods } from './served-method.ts';

/** A message may be so much longer than a request may be: it has more in it. As etcd. */
const OVERHEAD_BYTES = 512 * 1024;
/** As of HTTP/1 on this port. */
const HEADER_LIST_BYTES_MAX = 16_384;
/** Within which a request of one message has to arrive. As of HTTP/1 on this port. */
const REQUEST_TIMEOUT_MS = 30_000;
const CHECK_MS = 2000;

export type GrpcHost = Pick<Host, 'clock' | 'limits' | 'logger' | 'clientMemory'> & {
  readonly metrics: Pick<Host['metrics'], 'grpc'>;
};

/** Serves gRPC on connections that others have accepted. */
export class GrpcServer {
  readonly #host: GrpcHost;
  readonly #methods: ReadonlyMap<string, ServedMethod>;
  readonly #services: ReadonlySet<string>;
  readonly #connections = new Set<Http2Connection>();
  readonly #calls = new Set<GrpcCall>();
  readonly #environment: CallEnvironment;
  readonly #options: (
    address: string | undefined,
    commonName: string | undefined,
  ) => ConnectionOptions;
  readonly #checks: NodeJS.Timeout;
  #stopped = false;

  constructor(host: GrpcHost, services: readonly Service[]) {
    this.#host = host;
    this.#services = new Set(services.map(({ name }) => name));
    this.#methods = servedMethods(services, host.metrics.grpc);
    const { clock, limits } = host;
    this.#environment = {
      clock,
      receiveBytesMax: limits.requestBytesMax + OVERHEAD_BYTES,
      heldBytesMax: limits.connectionUnreadBytesMax,
      bug: (error, method) => this.#bug(error, method),
      counts: host.metrics.grpc,
      ended: (call, code) => {
        this.#calls.delete(call);
        call.method.counts.ended(code);
      },
    };
    this.#options = (address, commonName) => ({
      clock,
      streamsMax: limits.connectionInflightMax,
      headerListBytesMax: HEADER_LIST_BYTES_MAX,
      commonHeaders: COMMON_HEADERS,
      sendBufferBytesMax: limits.connectionSendBufferBytesMax,
      unreadBytesMax: limits.connectionUnreadBytesMax,
      unreadMsMax: limits.connectionUnreadMsMax,
      onStream: (stream, connection) => this.#onStream(stream, connection, commonName),
      onClose: (connection, reason) => {
        this.#connections.delete(connection);
        host.logger.debug({ reason }, 'HTTP/2 connection closed');
      },
      hold: (cut) => host.clientMemory.holder(address, cut),
    });
    this.#checks = setInterval(() => this.check(), CHECK_MS);
    this.#checks.unref();
  }

  /** Takes a connection that begins with HTTP/2's preface, of which nothing has been read. */
  accept(socket: Duplex & { readonly remoteAddress?: string | undefined }): void {
    const options = this.#options(socket.remoteAddress, commonNameOf(socket));
    const connection = new Http2Connection(socket, options);
    this.#connections.add(connection);
    if (this.#stopped) connection.goAway();
  }

  /** True when no unary call waits for its answer; the others have no end of their own. */
  get idle(): boolean {
    for (const { method } of this.#calls) if (method.kind === 'unary') return false;
    return true;
  }

  /** Takes no new calls, ends those that stream, and lets the others finish. */
  stop(error: KvError): void {
    this.#stopped = true;
    for (const connection of this.#connections) connection.goAway();
    const status = this.#statusOf(error);
    for (const call of this.#calls) if (call.method.kind !== 'unary') call.end(status);
  }

  /** Cuts every connection. */
  terminate(): void {
    clearInterval(this.#checks);
    for (const connection of this.#connections) connection.terminate();
  }

  /** Looks for peers that are slow, silent or gone; called every now and then. */
  check(): void {
    for (const connection of this.#connections) connection.check();
    const lateMs = this.#host.clock.nowMs() - REQUEST_TIMEOUT_MS;
    for (const call of this.#calls) {
      if (call.startedMs > lateMs) break; // they stand in the order they came
      if (!call.isWaiting) continue;
      const message = `the request did not arrive within ${REQUEST_TIMEOUT_MS} ms`;
      call.end({ code: GRPC_STATUS.DEADLINE_EXCEEDED, message });
    }
  }

  #onStream(
    stream: Http2Stream,
    connection: Http2Connection,
    commonName: string | undefined,
  ): void {
    if (stream.headers === undefined) {
      const message = `metadata larger than max (${HEADER_LIST_BYTES_MAX} bytes)`;
      refuse(stream, 200, { code: GRPC_STATUS.RESOURCE_EXHAUSTED, message });
      return;
    }
    const head = headOf(stream.headers);
    if (head === undefined) {
      stream.reset(ERROR.protocol);
      return;
    }
    const problem = problemOf(head);
    if (problem !== undefined) {
      refuse(stream, problem.http, problem.status);
      return;
    }
    const method = this.#methods.get(head.path);
    if (method === undefined) {
      refuse(stream, 200, unknownMethod(head.path, this.#services));
      return;
    }
    const { connectionSendBufferBytesMax, connectionUnreadBytesMax } = this.#host.limits;
    const isUnread = connection.queuedBytes > connectionSendBufferBytesMax;
    if (isUnread || connection.heldBytes > connectionUnreadBytesMax) {
      refuse(stream, 200, this.#statusOf(new KvError('KV_TOO_MANY_REQUESTS')));
      return;
    }
    const timeoutMs = head.timeout === undefined ? undefined : parseTimeout(head.timeout);
    const call = new GrpcCall(this.#environment, method, stream, { timeoutMs, commonName });
    stream.receiver = call;
    this.#calls.add(call);
    method.counts.started += 1;
    call.start();
  }

  #statusOf(error: KvError): GrpcStatus {
    return statusOf(error) ?? { code: GRPC_STATUS.UNAVAILABLE, message: error.message };
  }

  /** A bug stops the process: halting beats going on with a broken invariant. */
  #bug(error: unknown, { service, name }: ServedMethod): GrpcStatus {
    this.#host.logger.error({ err: error, method: `${service}/${name}` }, 'call failed on a bug');
    if (error instanceof InvariantError) {
      setImmediate(() => {
        throw error;
      });
    }
    return { code: GRPC_STATUS.INTERNAL, message: 'internal error' };
  }
}
