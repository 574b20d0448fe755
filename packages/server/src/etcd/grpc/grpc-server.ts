import {
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { InvariantError, type KvError } from '@kvorum/base';
import type { Host } from '../../host.ts';
import { type GrpcStatus, statusOf } from '../errors.ts';
import { GRPC_STATUS } from '../grpc-error.ts';
import type { Method, Service } from '../service.ts';
import { type CallEnvironment, GrpcCall, leaveRequest, statusHeaders } from './grpc-call.ts';
import { isGrpcContent, parseTimeout } from './headers.ts';

/** A message may be so much longer than a request may be: it has more in it. As etcd. */
const OVERHEAD_BYTES = 512 * 1024;
const NOT_KNOWN = 'unknown method';

export type GrpcHost = Pick<Host, 'clock' | 'limits' | 'logger'>;

/** Serves gRPC on connections that others have accepted. */
export class GrpcServer {
  readonly #host: GrpcHost;
  readonly #methods = new Map<string, Method>();
  readonly #serviceNames: ReadonlySet<string>;
  readonly #server = createServer({ settings: { enablePush: false } });
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #calls = new Set<GrpcCall>();
  readonly #environment: CallEnvironment;

  constructor(host: GrpcHost, services: readonly Service[]) {
    this.#host = host;
    this.#serviceNames = new Set(services.map(({ name }) => name));
    for (const { name, methods } of services) {
      for (const method of methods) this.#methods.set(`/${name}/${method.descriptor.name}`, method);
    }
    this.#environment = {
      clock: host.clock,
      receiveBytesMax: host.limits.requestBytesMax + OVERHEAD_BYTES,
      bug: (error, method) => this.#bug(error, method),
      ended: (call) => this.#calls.delete(call),
    };
    this.#server.on('session', (session) => this.#onSession(session));
    this.#server.on('stream', (stream, headers) => this.#onStream(stream, headers));
    this.#server.on('sessionError', (error) =>
      host.logger.debug({ err: error.message }, 'HTTP/2 connection failed'),
    );
  }

  /** Takes a connection that begins with HTTP/2's preface, of which nothing has been read. */
  accept(socket: Socket): void {
    this.#server.emit('connection', socket);
  }

  /** True when no unary call waits for its answer; the others have no end of their own. */
  get idle(): boolean {
    for (const { method } of this.#calls) if (method.kind === 'unary') return false;
    return true;
  }

  /** Takes no new calls, ends those that stream, and lets the others finish. */
  stop(error: KvError): void {
    for (const session of this.#sessions) session.close();
    const status = statusOf(error) ?? { code: GRPC_STATUS.UNAVAILABLE, message: error.message };
    for (const call of this.#calls) if (call.method.kind !== 'unary') call.end(status);
  }

  /** Cuts every connection. */
  terminate(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #onSession(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.on('close', () => this.#sessions.delete(session));
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', (error) =>
      this.#host.logger.debug({ err: error.message }, 'HTTP/2 stream failed'),
    );
    const path = headers[':path'] ?? '';
    if (headers[':method'] !== 'POST') {
      const text = `Received a HEADERS frame with :method "${headers[':method']}" which should be POST`;
      this.#refuse(stream, 405, { code: GRPC_STATUS.INTERNAL, message: text });
      return;
    }
    const type = headers['content-type'];
    if (!isGrpcContent(type)) {
      const text = `invalid gRPC request content-type "${type ?? ''}"`;
      this.#refuse(stream, 415, { code: GRPC_STATUS.INVALID_ARGUMENT, message: text });
      return;
    }
    const method = this.#methods.get(path);
    if (method === undefined) {
      this.#refuse(stream, 200, this.#unknown(path));
      return;
    }
    const timeout = headers['grpc-timeout'];
    const timeoutMs = timeout === undefined ? undefined : parseTimeout(String(timeout));
    if (timeout !== undefined && timeoutMs === undefined) {
      const text = `malformed grpc-timeout: "${String(timeout)}"`;
      this.#refuse(stream, 400, { code: GRPC_STATUS.INTERNAL, message: text });
      return;
    }
    const encoding = headers['grpc-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      const text = `grpc: Decompressor is not installed for grpc-encoding "${String(encoding)}"`;
      this.#refuse(stream, 200, { code: GRPC_STATUS.UNIMPLEMENTED, message: text });
      return;
    }
    const call = new GrpcCall(this.#environment, { method, stream, headers, timeoutMs });
    this.#calls.add(call);
    call.start();
  }

  #refuse(stream: ServerHttp2Stream, http: number, status: GrpcStatus): void {
    const headers = { ':status': http, 'content-type': 'application/grpc' };
    stream.respond({ ...headers, ...statusHeaders(status) }, { endStream: true });
    leaveRequest(stream);
  }

  #unknown(path: string): GrpcStatus {
    const at = path.lastIndexOf('/');
    const service = path.slice(1, Math.max(at, 1));
    const method = path.slice(at + 1);
    const code = GRPC_STATUS.UNIMPLEMENTED;
    if (path[0] !== '/' || at < 1) {
      return { code, message: `malformed method name: ${JSON.stringify(path)}` };
    }
    return this.#serviceNames.has(service)
      ? { code, message: `${NOT_KNOWN} ${method} for service ${service}` }
      : { code, message: `unknown service ${service}` };
  }

  /** A bug stops the process: halting beats going on with a broken invariant. */
  #bug(error: unknown, method: Method): GrpcStatus {
    const name = `${method.descriptor.parent.typeName}/${method.descriptor.name}`;
    this.#host.logger.error({ err: error, method: name }, 'request failed on a bug');
    if (error instanceof InvariantError) {
      setImmediate(() => {
        throw error;
      });
    }
    return { code: GRPC_STATUS.INTERNAL, message: 'internal error' };
  }
}
