import { fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { errorSpec } from '@kvorum/base';
import type { GrpcCounts, MethodCounts } from '../../grpc-counts.ts';
import { GrpcError } from '../grpc-error.ts';
import type { Method, Service } from '../service.ts';
import { hasTooManyParts } from './part-count.ts';

const PREFIX_BYTES = 5;

/** A method with what turns its messages into bytes. */
export type ServedMethod = Method & {
  readonly service: string;
  readonly name: string;
  readonly counts: MethodCounts;
  /** Errors: GrpcError INTERNAL, as grpc-go says it; INVALID_ARGUMENT for far too many operations, which are not decoded. */
  readonly decode: (body: Uint8Array) => Message;
  /** With the prefix of gRPC before it. */
  readonly encode: (message: Message) => Uint8Array;
};

function prefixed(body: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + body.length);
  frame[0] = 0;
  frame.writeUInt32BE(body.length, 1);
  frame.set(body, PREFIX_BYTES);
  return frame;
}

function served(service: string, method: Method, counts: MethodCounts): ServedMethod {
  const { input, output, name } = method.descriptor;
  return {
    ...method,
    service,
    name,
    counts,
    decode(body) {
      if (hasTooManyParts(input, body)) {
        throw new GrpcError('INVALID_ARGUMENT', errorSpec('KV_TOO_MANY_OPS').message);
      }
      try {
        return fromBinary(input, body);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        throw new GrpcError('INTERNAL', `grpc: error unmarshalling request: ${text}`);
      }
    },
    encode: (message) => prefixed(toBinary(output, message)),
  };
}

/** The methods by their paths: `/etcdserverpb.KV/Put`. */
export function servedMethods(
  services: readonly Service[],
  counts: GrpcCounts,
): ReadonlyMap<string, ServedMethod> {
  const methods = new Map<string, ServedMethod>();
  for (const { name: service, methods: own } of services) {
    for (const method of own) {
      const { name } = method.descriptor;
      const counted = counts.method(service, name, method.kind);
      methods.set(`/${service}/${name}`, served(service, method, counted));
    }
  }
  return methods;
}
