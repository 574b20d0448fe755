// The parts of kafkajs 2.2.4 below its public API that this package uses, as far as it uses them. The version is pinned; the
// package has no exports map. What requests decode to is typed in kafka-api.ts.

interface KafkajsLogger {
  namespace(name: string): KafkajsLogger;
  debug(message: string, extra?: object): void;
  info(message: string, extra?: object): void;
  warn(message: string, extra?: object): void;
  error(message: string, extra?: object): void;
}

interface KafkajsProtocolRequest {
  readonly request: {
    readonly apiKey: number;
    readonly apiName: string;
    readonly apiVersion: number;
  };
  readonly response: { decode(this: void, payload: Uint8Array): Promise<unknown> };
  readonly requestTimeout?: number | null;
}

/** A request that kafkajs does not know, in its own form. */
interface KafkajsCustomRequest<Answer> {
  readonly request: {
    readonly apiKey: number;
    readonly apiName: string;
    readonly apiVersion: number;
    encode(this: void): Promise<object>;
  };
  readonly response: {
    decode(this: void, payload: Uint8Array): Promise<Answer>;
    parse(this: void, answer: Answer): Promise<Answer>;
  };
}

interface KafkajsConnection {
  readonly clientId: string;
  readonly sasl: object | null;
  readonly socket: import('node:net').Socket | undefined;
  readonly requestQueue: {
    push(request: {
      readonly entry: {
        readonly apiKey: number;
        readonly apiName: string;
        readonly apiVersion: number;
        readonly correlationId: number;
        readonly resolve: (answer: { readonly payload: Uint8Array }) => void;
        readonly reject: (error: Error) => void;
      };
      readonly expectResponse: boolean;
      readonly requestTimeout: number;
      readonly sendRequest: () => void;
    }): void;
    destroy(): void;
  };
  isConnected(): boolean;
  isAuthenticated(): boolean;
  authenticate(): Promise<void>;
  nextCorrelationId(): number;
  send(request: object): Promise<unknown>;
  rejectRequests(error: Error): void;
  disconnect(): Promise<boolean>;
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  class RequestQueue {
    constructor(options: object);
    readonly pending: readonly object[];
    readonly throttledUntil: number;
    throttleCheckTimeoutId: object | null;
    checkPendingRequests(): void;
    readonly inflight: ReadonlyMap<
      number,
      {
        readonly sentAt: number;
        readonly requestTimeout: number;
        timeoutRequest(): void;
      }
    >;
    readonly requestTimeout: number;
    readonly enforceRequestTimeout: boolean;
    requestTimeoutIntervalId: NodeJS.Timeout | undefined;
    isConnected(): boolean;
    destroy(): void;
    scheduleCheckPendingRequests(): void;
    scheduleRequestTimeoutCheck(): void;
    push(request: object): void;
  }
  export = RequestQueue;
}

declare module 'kafkajs/src/network/connectionPool.js' {
  class ConnectionPool {
    constructor(options: object);
    readonly pool: readonly KafkajsConnection[];
  }
  export = ConnectionPool;
}

declare module 'kafkajs/src/network/socketFactory.js' {
  function socketFactory(): (options: {
    readonly host: string;
    readonly port: number;
    readonly ssl: object | null;
    readonly onConnect: () => void;
  }) => import('node:net').Socket;
  export = socketFactory;
}

declare module 'kafkajs/src/broker/index.js' {
  class Broker {
    constructor(options: object);
    readonly lookupRequest: (
      apiKey: number,
      definition: object,
    ) => (payload: object) => KafkajsProtocolRequest;
    /** Of each request, by its number, once connected. */
    readonly versions: Readonly<Record<number, { readonly maxVersion: number }>> | null;
    connect(): Promise<void>;
  }
  export = Broker;
}

declare module 'kafkajs/src/protocol/requests/index.js' {
  const protocol: { readonly requests: Readonly<Record<string, object>> };
  export = protocol;
}

declare module 'kafkajs/src/protocol/requests/apiKeys.js' {
  const apiKeys: Readonly<Record<string, number>>;
  export = apiKeys;
}

declare module 'kafkajs/src/protocol/encoder.js' {
  class Encoder {
    writeArray(values: readonly (string | number)[]): this;
    writeBoolean(value: boolean): this;
  }
  export = Encoder;
}

declare module 'kafkajs/src/protocol/decoder.js' {
  class Decoder {
    constructor(payload: Uint8Array);
    readInt16(): number;
    readInt32(): number;
    readString(): string | null;
    readBoolean(): boolean;
  }
  export = Decoder;
}

declare module 'kafkajs/src/protocol/error.js' {
  const errors: {
    createErrorFromCode(code: number): Error & { readonly type: string; readonly code: number };
  };
  export = errors;
}
