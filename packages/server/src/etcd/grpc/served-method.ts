import { fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { GrpcError } from '../grpc-error.ts';
import type { Method, Service } from '../service.ts';

const PREFIX_BYTES = 5;

/** A method with what turns its messages into bytes. */
export type ServedMethod = Method & {
  readonly service: string;
  readonly name: string;
  /** Errors: GrpcError INTERNAL, as grpc-go says it. */
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

function served(service: string, method: Method): ServedMethod {
  const { input, output, name } = method.descriptor;
  return {
    ...method,
    service,
    name,
    decode(body) {
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
export function servedMethods(services: readonly Service[]): ReadonlyMap<string, ServedMethod> {
  const methods = new Map<string, ServedMethod>();
  for (const { name, methods: own } of services) {
    for (const method of own)
      methods.set(`/${name}/${method.descriptor.name}`, served(name, method));
  }
  return methods;
}
