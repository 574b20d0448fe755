import type { GrpcStatus } from '../errors.ts';

/** The HTTP status of each gRPC one, by its number. Source: google/rpc/code.proto; grpc-gateway has the same. */
const HTTP_STATUS: readonly number[] = [
  200, // OK
  499, // CANCELLED
  500, // UNKNOWN
  400, // INVALID_ARGUMENT
  504, // DEADLINE_EXCEEDED
  404, // NOT_FOUND
  409, // ALREADY_EXISTS
  403, // PERMISSION_DENIED
  429, // RESOURCE_EXHAUSTED
  400, // FAILED_PRECONDITION
  409, // ABORTED
  400, // OUT_OF_RANGE
  501, // UNIMPLEMENTED
  500, // INTERNAL
  503, // UNAVAILABLE
  500, // DATA_LOSS
  401, // UNAUTHENTICATED
];

export function httpStatusOf({ code }: GrpcStatus): number {
  return HTTP_STATUS[code] ?? 500;
}

/** What a refusal says: google.rpc.Status without its empty details, and `error`, which gateways up to etcd 3.5 have too. */
export function statusBody({ code, message }: GrpcStatus): string {
  return JSON.stringify({ error: message, code, message });
}

/** The same inside a stream. */
export function streamError({ code, message }: GrpcStatus): string {
  return JSON.stringify({ error: { code, message } });
}
