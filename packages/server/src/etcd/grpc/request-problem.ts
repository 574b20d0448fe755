import type { GrpcStatus } from '../errors.ts';
import { GRPC_STATUS } from '../grpc-error.ts';
import { isGrpcContent, parseTimeout } from './headers.ts';
import type { RequestHead } from './request-head.ts';

/** Why a request cannot be a call of gRPC. */
export interface RequestProblem {
  /** For clients that speak no gRPC. */
  readonly http: number;
  readonly status: GrpcStatus;
}

function problem(http: number, code: number, message: string): RequestProblem {
  return { http, status: { code, message } };
}

/** Texts and statuses are grpc-go's. */
export function problemOf(head: RequestHead): RequestProblem | undefined {
  const { method, contentType, timeout, encoding } = head;
  if (method !== 'POST') {
    const text = `Received a HEADERS frame with :method "${method}" which should be POST`;
    return problem(405, GRPC_STATUS.INTERNAL, text);
  }
  if (!isGrpcContent(contentType)) {
    const text = `invalid gRPC request content-type "${contentType ?? ''}"`;
    return problem(415, GRPC_STATUS.INVALID_ARGUMENT, text);
  }
  if (timeout !== undefined && parseTimeout(timeout) === undefined) {
    return problem(400, GRPC_STATUS.INTERNAL, `malformed grpc-timeout: "${timeout}"`);
  }
  if (encoding !== undefined && encoding !== 'identity') {
    const text = `grpc: Decompressor is not installed for grpc-encoding "${encoding}"`;
    return problem(200, GRPC_STATUS.UNIMPLEMENTED, text);
  }
  return undefined;
}

/** Of a path that no method has. */
export function unknownMethod(path: string, services: ReadonlySet<string>): GrpcStatus {
  const code = GRPC_STATUS.UNIMPLEMENTED;
  const at = path.lastIndexOf('/');
  if (path[0] !== '/' || at < 1) {
    return { code, message: `malformed method name: ${JSON.stringify(path)}` };
  }
  const service = path.slice(1, at);
  const message = services.has(service)
    ? `unknown method ${path.slice(at + 1)} for service ${service}`
    : `unknown service ${service}`;
  return { code, message };
}
