import type { Message } from '@bufbuild/protobuf';
import { errorSpec } from '@kvorum/base';
import { EventSchema } from '@kvorum/wire/gen/mvccpb/kv_pb';
import type { GrpcCounts, MethodCounts } from '../../grpc-counts.ts';
import { messageDecoder } from '../codec/decode-message.ts';
import { messageEncoder } from '../codec/encode-message.ts';
import { GrpcError } from '../grpc-error.ts';
import type { Method, Service } from '../service.ts';
import { hasTooManyParts } from './part-count.ts';

const PREFIX_BYTES = 5;
/** An event goes to all who watch its key. */
const SHARED = [EventSchema];

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

function served(service: string, method: Method, counts: MethodCounts): ServedMethod {
  const { input, output, name } = method.descriptor;
  const decode = messageDecoder(input);
  const encode = messageEncoder(output, PREFIX_BYTES, SHARED);
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
        return decode(body);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        throw new GrpcError('INTERNAL', `grpc: error unmarshalling request: ${text}`);
      }
    },
    encode(message) {
      const frame = encode(message);
      frame[0] = 0; // not compressed
      frame.writeUInt32BE(frame.length - PREFIX_BYTES, 1);
      return frame;
    },
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
