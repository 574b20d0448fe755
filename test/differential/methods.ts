import type { DescMessage, DescMethod, DescMethodUnary } from '@bufbuild/protobuf';
import { KV, Lease } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';

/** The unary calls that sequences are made of; the streaming ones are in `watch-stream.ts` and `subject.ts`. */
export const METHODS = {
  range: KV.method.range,
  put: KV.method.put,
  deleteRange: KV.method.deleteRange,
  txn: KV.method.txn,
  compact: KV.method.compact,
  grant: Lease.method.leaseGrant,
  revoke: Lease.method.leaseRevoke,
  timeToLive: Lease.method.leaseTimeToLive,
  leases: Lease.method.leaseLeases,
} as const satisfies Readonly<Record<string, DescMethodUnary<DescMessage, DescMessage>>>;

export type MethodName = keyof typeof METHODS;

/** As the first header of a call has it. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
