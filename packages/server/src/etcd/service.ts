import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';

/** What a handler knows of a call beside its request, whichever way it came: gRPC or the JSON gateway. */
export interface Call {
  /** Metadata of gRPC or headers of HTTP, names in lower case. */
  readonly metadata: ReadonlyMap<string, string>;
  /** On the member's monotonic clock; undefined = the caller set none. */
  readonly deadlineMs: number | undefined;
  /** Aborts when the caller cancels, goes away or its deadline passes. */
  readonly signal: AbortSignal;
}

/** Answers of a streaming call, in order. */
export interface Outgoing<Message> {
  /** False: the caller is slow; wait for `drained` before the next one. What was handed over is sent all the same. */
  send(message: Message): boolean;
  /** Resolves when there is room again, or the call has ended. */
  drained(): Promise<void>;
}

type Unary<Input extends DescMessage, Output extends DescMessage> = (
  request: MessageShape<Input>,
  call: Call,
) => Promise<MessageShape<Output>>;

type ServerStreaming<Input extends DescMessage, Output extends DescMessage> = (
  request: MessageShape<Input>,
  outgoing: Outgoing<MessageShape<Output>>,
  call: Call,
) => Promise<void>;

/** Resolves when the server has nothing more to say; requests end when the caller half-closes, which ends no call by itself. */
type Bidirectional<Input extends DescMessage, Output extends DescMessage> = (
  requests: AsyncIterable<MessageShape<Input>>,
  outgoing: Outgoing<MessageShape<Output>>,
  call: Call,
) => Promise<void>;

/** A handler of each method. What it throws is a KvError or a GrpcError; everything else is reported as an internal failure. */
export type ServiceHandlers<Methods extends GenServiceMethods> = {
  readonly [Name in keyof Methods]: Methods[Name]['methodKind'] extends 'unary'
    ? Unary<Methods[Name]['input'], Methods[Name]['output']>
    : Methods[Name]['methodKind'] extends 'server_streaming'
      ? ServerStreaming<Methods[Name]['input'], Methods[Name]['output']>
      : Bidirectional<Methods[Name]['input'], Methods[Name]['output']>;
};

/** A service with its handlers, as transports see it. */
export interface Service<Methods extends GenServiceMethods = GenServiceMethods> {
  readonly descriptor: GenService<Methods>;
  readonly handlers: ServiceHandlers<Methods>;
}

export function service<Methods extends GenServiceMethods>(
  descriptor: GenService<Methods>,
  handlers: ServiceHandlers<Methods>,
): Service<Methods> {
  return { descriptor, handlers };
}
