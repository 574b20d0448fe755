import { ERROR_TABLE, type ErrorCode, isKvError } from '@kvorum/base';
import { GRPC_STATUS, GrpcError, type GrpcStatusName } from './grpc-error.ts';

/** How a call that did not succeed ends. */
export interface GrpcStatus {
  /** Number of the status. */
  readonly code: number;
  readonly message: string;
}

/**
 * Statuses of etcd's wire that differ from its clients' tables: its server sends UNKNOWN with the text, and clients that know the
 * text take the status from their own table. Others must not see what etcd does not send. Source: etcd-api §1.11.
 */
const AS_ETCD_SENDS: Readonly<Partial<Record<ErrorCode, GrpcStatusName>>> = {
  KV_TOO_MANY_REQUESTS: 'UNKNOWN',
};

/** The status of what a handler threw; undefined for what is a bug of ours. */
export function statusOf(error: unknown): GrpcStatus | undefined {
  if (error instanceof GrpcError) {
    return { code: GRPC_STATUS[error.status], message: error.message };
  }
  if (!isKvError(error)) return undefined;
  const spec = ERROR_TABLE[error.code];
  const name = AS_ETCD_SENDS[error.code] ?? spec.grpc;
  return {
    code: GRPC_STATUS[name],
    // Clients of etcd compare the whole text with what they know; where it is ours, the rest of it helps a person.
    message: spec.message.startsWith('etcdserver: ') ? spec.message : error.message,
  };
}
