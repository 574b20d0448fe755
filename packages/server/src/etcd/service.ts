import type { DescMessage, DescMethod, Message, MessageShape } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';

/** What a handler knows of a call beside its request, whichever way it came: gRPC or the JSON gateway. */
export interface Call {
  /** Metadata of gRPC or headers of HTTP, names in lower case. */
  readonly metadata: ReadonlyMap<string, string>;
  /** On the member's monotonic clock; undefined = the caller set none. */
  readonly deadlineMs: number | undefined;
  /** Aborts when the caller cancels, goes away or its deadline passes; nobody reads an answer then. */
  readonly signal: AbortSignal;
  /** Told of the memory that the call takes for long, bytes more or less: keys of watches. */
  holds?(change: number): void;
  /** The common name in the client's certificate, which is verified; absent without one, and when anything stands between. */
  readonly commonName?: string | undefined;
  /** Who calls, as guard.ts has found out; absent while authorization is not enabled. */
  readonly user?: string;
}

/** Answers of a streaming call, in order. */
export interface Outgoing<Answer> {
  /** False: the caller is slow; wait for `drained` before the next one. What was handed over is sent all the same. */
  send(message: Answer): boolean;
  /** Resolves when there is room again, or the call has ended. */
  drained(): Promise<void>;
}

type UnaryHandler<Input, Output> = (request: Input, call: Call) => Promise<Output>;

type ServerStreamingHandler<Input, Output> = (
  request: Input,
  outgoing: Outgoing<Output>,
  call: Call,
) => Promise<void>;

/** Resolves when the server has nothing more to say; requests end when the caller half-closes, which ends no call by itself. */
type BidirectionalHandler<Input, Output> = (
  requests: AsyncIterable<Input>,
  outgoing: Outgoing<Output>,
  call: Call,
) => Promise<void>;

type Shape<Schema> = Schema extends DescMessage ? MessageShape<Schema> : never;

/** A handler of each method. What it throws is a KvError or a GrpcError; everything else is reported as an internal failure. */
export type ServiceHandlers<Methods extends GenServiceMethods> = {
  readonly [Name in keyof Methods]: Methods[Name]['methodKind'] extends 'unary'
    ? UnaryHandler<Shape<Methods[Name]['input']>, Shape<Methods[Name]['output']>>
    : Methods[Name]['methodKind'] extends 'server_streaming'
      ? ServerStreamingHandler<Shape<Methods[Name]['input']>, Shape<Methods[Name]['output']>>
      : BidirectionalHandler<Shape<Methods[Name]['input']>, Shape<Methods[Name]['output']>>;
};

/** A method with its handler, as transports see it: they convert messages by the descriptor and know no more of them. */
export type Method = { readonly descriptor: DescMethod } & (
  | { readonly kind: 'unary'; readonly handle: UnaryHandler<Message, Message> }
  | { readonly kind: 'server_streaming'; readonly handle: ServerStreamingHandler<Message, Message> }
  | { readonly kind: 'bidi_streaming'; readonly handle: BidirectionalHandler<Message, Message> }
);

export interface Service {
  /** With its package: `etcdserverpb.KV`. */
  readonly name: string;
  readonly methods: readonly Method[];
}

function method(descriptor: DescMethod, handler: unknown): Method {
  switch (descriptor.methodKind) {
    case 'unary':
      return { descriptor, kind: 'unary', handle: handler as UnaryHandler<Message, Message> };
    case 'server_streaming':
      return {
        descriptor,
        kind: 'server_streaming',
        handle: handler as ServerStreamingHandler<Message, Message>,
      };
    default:
      return {
        descriptor,
        kind: 'bidi_streaming',
        handle: handler as BidirectionalHandler<Message, Message>,
      };
  }
}

/** Binds the handlers to the service; the compiler has checked each against its method, transports need not. */
export function service<Methods extends GenServiceMethods>(
  descriptor: GenService<Methods>,
  handlers: ServiceHandlers<Methods>,
): Service {
  const byName: Readonly<Record<string, unknown>> = handlers;
  return {
    name: descriptor.typeName,
    methods: descriptor.methods.map((one) => method(one, byName[one.localName])),
  };
}
